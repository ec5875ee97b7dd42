"""Progress bars on a terminal, and lines printed while they are shown.

Bars are on standard error. If standard output is the same terminal, its lines would be written into
them, so they are held until the bars are gone; to a file or pipe they are written immediately.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import typer

from dsx.client.paths import about
from dsx.core.names import shown

Bar = Callable[[int, str], None]
"""Called with bytes done and a description."""
Report = Callable[[int, int | None, str], None]
"""Called with bytes done, bytes in total (None: unknown) and what is being transferred."""
_HELD = 1000
_NARROW = 60  # columns; narrower terminals show fewer fields

_shown: _Bars | None = None


def echo(line: str, *, err: bool = False, exactly: bool = False) -> None:
    """Print a line as a whole, above or after any bars.

    Control and invisible characters, which names chosen by others may contain, are escaped unless
    *exactly* is true.
    """
    line = line if exactly else shown(line)
    bars = _shown
    with about("standard error" if err else "standard output"):
        if bars is None:
            typer.echo(line, err=err)
        else:
            bars.echo(line, err=err)


@contextmanager
def one_bar(total: int | None) -> Iterator[Bar | None]:
    """Show one bar for several transfers of *total* bytes together; None without a terminal."""
    with _bars() as bars:
        if bars is None:
            yield None
            return
        task = bars.progress.add_task("", total=total)

        def show(done: int, description: str) -> None:
            bars.progress.update(task, completed=done, description=shown(description))

        yield show


@contextmanager
def bar_for_each() -> Iterator[Report | None]:
    """Show a bar for each transfer while it lasts; None without a terminal."""
    with _bars() as bars:
        if bars is None:
            yield None
            return
        tasks: dict[str, Any] = {}
        lock = threading.Lock()

        def report(done: int, total: int | None, name: str) -> None:
            with lock:
                if name not in tasks:
                    tasks[name] = bars.progress.add_task(
                        shown(name.rsplit("/", 1)[-1]), total=total
                    )
                bars.progress.update(tasks[name], completed=done, total=total)
                if done == total:
                    bars.progress.remove_task(tasks.pop(name))

        yield report


class _Bars:
    """The visible bars, and the lines held until they are gone."""

    def __init__(self) -> None:
        from rich import console  # noqa: PLC0415 (slow to import, rarely needed)

        self._console = console.Console(stderr=True)
        self.progress = _progress(self._console)
        self._held: list[str] = []
        self._lock = threading.Lock()

    def echo(self, line: str, *, err: bool) -> None:
        """Print *line* without disturbing the bars."""
        if err:
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)
        elif not sys.stdout.isatty():
            typer.echo(line)
        else:
            with self._lock:
                self._held.append(line)
                if len(self._held) >= _HELD:
                    self.progress.stop()
                    self._release()
                    self.progress.start()

    def end(self) -> None:
        """Remove the bars and print the held lines."""
        self.progress.stop()
        with self._lock:
            self._release()

    def _release(self) -> None:
        for line in self._held:
            typer.echo(line)
        self._held.clear()


@contextmanager
def _bars() -> Iterator[_Bars | None]:
    global _shown  # noqa: PLW0603 (there is one terminal)
    if not sys.stderr.isatty():
        yield None
        return
    bars = _Bars()
    bars.progress.start()
    _shown = bars
    try:
        yield bars
    finally:
        _shown = None
        bars.end()


def _progress(console: Any) -> Any:
    """Create bars of one line each, however narrow the terminal, that vanish when done."""
    from rich import progress, table  # noqa: PLC0415 (slow to import, rarely needed)

    name = progress.TextColumn(
        "{task.description}",
        markup=False,
        table_column=table.Column(ratio=1, no_wrap=True, overflow="ellipsis"),
    )
    size = progress.DownloadColumn(binary_units=True, table_column=table.Column(no_wrap=True))
    left = progress.TimeRemainingColumn(compact=True)
    columns = [name, size, left]
    if console.width >= _NARROW:
        left = progress.TimeRemainingColumn()
        columns = [name, progress.BarColumn(20), size, progress.TransferSpeedColumn(), left]
    return progress.Progress(
        *columns, console=console, expand=True, transient=True, redirect_stdout=False
    )
