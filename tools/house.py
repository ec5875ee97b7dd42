"""Prints how the source is divided: ``python -m tools.house``."""

from __future__ import annotations

import ast
import statistics
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src" / "dsx"
MOST_LINES = 400


def modules() -> dict[Path, int]:
    """Every module's number of lines; migrations, which are never changed, are left out."""
    return {
        path.relative_to(SOURCE): len(path.read_text().splitlines())
        for path in sorted(SOURCE.rglob("*.py"))
        if "migrations" not in path.parts
    }


def packages() -> dict[str, list[int]]:
    """The lines of the modules of each package, by the name of its folder."""
    found: dict[str, list[int]] = {}
    for path, lines in modules().items():
        found.setdefault(path.parent.as_posix(), []).append(lines)
    return found


def imports() -> Counter[tuple[str, str]]:
    """How many times modules of one top-level package import from another."""
    found: Counter[tuple[str, str]] = Counter()
    for path in modules():
        here = path.parts[0].removesuffix(".py")
        for name in _imported((SOURCE / path).read_text()):
            there = name.split(".")[1] if "." in name else ""
            if there and there != here:
                found[here, there] += 1
    return found


def _imported(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("dsx"):
            for alias in node.names:
                yield node.module if node.module != "dsx" else f"dsx.{alias.name}"


def main() -> None:
    """Print packages with their modules and lines, and the imports between them."""
    sizes = modules()
    write = sys.stdout.write
    write("package                    modules  lines  median  longest\n")
    for name, lines in sorted(packages().items()):
        middle = statistics.median(lines)
        write(f"{name:26} {len(lines):7} {sum(lines):6} {middle:7.0f} {max(lines):8}\n")
    lines = list(sizes.values())
    middle = statistics.median(lines)
    write(f"{'all':26} {len(lines):7} {sum(lines):6} {middle:7.0f} {max(lines):8}\n\n")
    for (here, there), count in sorted(imports().items()):
        write(f"{here} → {there}: {count}\n")


if __name__ == "__main__":
    main()
