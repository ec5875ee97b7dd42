"""What a command prints: results on standard output, everything else on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from dsx.client.progress import Progress

Bar = Callable[[int, str], None]
"""Called with bytes done and what is going on."""

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


class Output:
    """Text for people, or JSON for programs."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json

    def result(self, value: Any, lines: Iterable[str]) -> None:
        """Print *value* as JSON, or else *lines*."""
        if self.as_json:
            typer.echo(json.dumps(_plain(value), ensure_ascii=False))
        else:
            for line in lines:
                typer.echo(line)

    def items(self, values: Iterable[Any], columns: Sequence[tuple[str, Any]]) -> None:
        """Print *values*: as JSON lines, or as a table whose columns are (title, function)."""
        if self.as_json:
            for value in values:
                typer.echo(json.dumps(_plain(value), ensure_ascii=False))
            return
        rows = [[str(show(value)) for _, show in columns] for value in values]
        if sys.stdout.isatty():
            rows.insert(0, [title for title, _ in columns])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
            typer.echo("  ".join(cells).rstrip())

    @contextmanager
    def progress(self) -> Iterator[Progress | None]:
        """A bar with speed and time left on standard error, if that is a terminal."""
        if not sys.stderr.isatty():
            yield None
            return
        with _bars() as bars:
            tasks: dict[str, Any] = {}

            def report(done: int, total: int | None, name: str) -> None:
                if name not in tasks:
                    tasks[name] = bars.add_task(name.rsplit("/", 1)[-1], total=total)
                bars.update(tasks[name], completed=done)

            yield report

    @contextmanager
    def bar(self, total: int | None) -> Iterator[Bar | None]:
        """One bar for several transfers of *total* bytes together, if there is a terminal."""
        if not sys.stderr.isatty():
            yield None
            return
        with _bars() as bars:
            task = bars.add_task("", total=total)

            def show(done: int, description: str) -> None:
                bars.update(task, completed=done, description=description)

            yield show


def note(line: str) -> None:
    """Tell a person something that is no result."""
    typer.echo(f"dsx: {line}", err=True)


def _bars() -> Any:
    from rich import console, progress  # noqa: PLC0415 (slow to import, rarely needed)

    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.DownloadColumn(binary_units=True),
        progress.TransferSpeedColumn(),
        progress.TimeRemainingColumn(),
    )
    return progress.Progress(*columns, console=console.Console(stderr=True))


def human(size: int) -> str:
    """Bytes for people: ``12.3 MiB``."""
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
