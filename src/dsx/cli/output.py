"""Output of commands: results on standard output, everything else on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from dsx.cli import terminal
from dsx.cli.terminal import Bar, echo
from dsx.core.names import shown

if TYPE_CHECKING:
    from dsx.client.progress import Progress

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


class Output:
    """Text for people, or JSON for programs."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json

    def result(self, value: Any, lines: Iterable[str]) -> None:
        """Print *value* as JSON, or else *lines*."""
        if self.as_json:
            echo(json_text(value), exactly=True)
        else:
            for line in lines:
                echo(line)

    def items(self, values: Iterable[Any], columns: Sequence[tuple[str, Any]]) -> None:
        """Print *values* as JSON lines, or as a table with *columns* of (title, function)."""
        if self.as_json:
            for value in values:
                echo(json_text(value), exactly=True)
            return
        rows = [[shown(str(show(value))) for _, show in columns] for value in values]
        if sys.stdout.isatty():
            rows.insert(0, [title for title, _ in columns])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
            echo("  ".join(cells).rstrip())

    @staticmethod
    def progress() -> AbstractContextManager[Progress | None]:
        """Show a bar with speed and remaining time for each transfer, if on a terminal."""
        return terminal.bar_for_each()

    @staticmethod
    def bar(total: int | None) -> AbstractContextManager[Bar | None]:
        """Show one bar for several transfers of *total* bytes together, if on a terminal."""
        return terminal.one_bar(total)


def json_text(value: Any) -> str:
    """Return *value* as a line of JSON; ASCII only unless standard output is Unicode."""
    unicode = (sys.stdout.encoding or "").lower().replace("-", "").startswith("utf")
    return json.dumps(_plain(value), ensure_ascii=not unicode)


def note(line: str) -> None:
    """Print a message on standard error."""
    for part in f"dsx: {line}".split("\n"):
        echo(part, err=True)


def human(size: int) -> str:
    """Format a size in bytes: ``12.3 MiB``."""
    amount = float(size)
    for unit in _UNITS[:-1]:
        if amount < 1024:  # noqa: PLR2004 (the unit)
            return f"{size} B" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} {_UNITS[-1]}"


def _plain(value: Any) -> Any:
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
