"""Dockerfiles, read without an engine: what they would do, for tests that do it without one."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Image:
    """What a Dockerfile says."""

    instructions: list[tuple[str, str]]

    def all(self, name: str) -> list[str]:
        """The arguments of every instruction of that name, in order."""
        return [argument for found, argument in self.instructions if found == name]

    @property
    def environment(self) -> dict[str, str]:
        """What ENV sets."""
        pairs = [shlex.split(argument) for argument in self.all("ENV")]
        return dict(pair.split("=", 1) for line in pairs for pair in line)

    @property
    def command(self) -> list[str]:
        """CMD, which has to be a list: a shell would swallow the signals."""
        (command,) = self.all("CMD")
        words: list[str] = json.loads(command)
        return words

    @property
    def installs(self) -> list[str]:
        """The RUN lines that call pip."""
        return [line for line in self.all("RUN") if line.startswith("python -m pip ")]


_KNOWN = {"FROM", "WORKDIR", "COPY", "RUN", "ENV", "USER", "VOLUME", "EXPOSE", "HEALTHCHECK", "CMD"}


def image(dockerfile: Path) -> Image:
    """The image a Dockerfile describes; only instructions we know the meaning of may be in it."""
    text = re.sub(r"^\s*#.*\n", "", dockerfile.read_text(), flags=re.MULTILINE)
    lines = [line for line in text.replace("\\\n", " ").splitlines() if line.strip()]
    instructions = [(line.split(" ", 1)[0], line.split(" ", 1)[1].strip()) for line in lines]
    assert instructions[0][0] == "FROM"
    assert {name for name, _ in instructions} <= _KNOWN
    return Image(instructions)
