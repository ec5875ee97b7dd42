"""What a mutant is, and where it is written down."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


@dataclass(frozen=True)
class Mutant:
    """One mistake.

    Attributes:
        name: unique, and says what is wrong.
        file: where it is planted, relative to the root of the tree.
        find: what stands there exactly once.
        replace: what stands there instead.
        tests: the one test, or two, that pytest is told to run; one has to fail.
    """

    name: str
    file: str
    find: str
    replace: str
    tests: tuple[str, ...]

    def planted(self, text: str) -> str:
        """*text*, which is `file`'s, with the mistake in it; `ValueError` if it does not fit."""
        if (count := text.count(self.find)) != 1:
            raise ValueError(f"{self.name}: `find` is in {self.file} {count} times, not once")
        return text.replace(self.find, self.replace)


def mutants() -> Iterator[Mutant]:
    """All of them, in the order of files and lines."""
    for path in sorted(HERE.glob("*.toml")):
        for entry in tomllib.loads(path.read_text())["mutant"]:
            tests = entry.pop("tests")
            yield Mutant(tests=tuple(tests), **entry)
