"""Which files a command is about: arguments, patterns and directories as a list."""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dsx.client.paths import local
from dsx.core.errors import Invalid, NotFound

STREAM = "-"


@dataclass(frozen=True, slots=True)
class Item:
    """A file to store.

    Attributes:
        path: where it is; None: standard input.
        name: of the stored file.
        size: in bytes, and ``mtime_ns``: when it was last changed; 0 if it cannot be told.
    """

    path: Path | None
    name: str
    size: int = 0
    mtime_ns: int = 0

    @property
    def label(self) -> str:
        """What a person calls it."""
        return str(self.path) if self.path is not None else "standard input"


def select(arguments: Sequence[str], *, recursive: bool) -> list[Item]:
    """What *arguments* stand for, in their order; a directory's files by their paths.

    A file's name is its path's last part; below a directory it begins with the directory's own.
    A pattern is expanded if nothing is called that. Raises `NotFound` for a pattern without a
    match, `Invalid` for a directory unless *recursive*, and for one name that several would get.
    """
    found: list[Item] = []
    for argument in arguments:
        if argument == STREAM:
            found.append(Item(None, ""))
            continue
        for path in _expanded(argument):
            found += _below(path, recursive=recursive)
    names: dict[str, Item] = {}
    for item in found:
        other = names.setdefault(item.name, item)
        if other is not item:
            raise Invalid(f"{other.label} and {item.label} would both be stored as {item.name!r}.")
    return found


def _expanded(argument: str) -> list[Path]:
    path = local(argument)
    if os.path.lexists(path) or not glob.has_magic(argument):
        return [path]
    # Path.glob takes no absolute patterns.
    matches = sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207
    if not matches:
        raise NotFound(f"Nothing matches {argument!r}.")
    return [Path(match) for match in matches]


def _below(path: Path, *, recursive: bool) -> Iterator[Item]:
    if not path.is_dir():
        yield _item(path, path.name)
        return
    if not recursive:
        raise Invalid(f"{path} is a directory; use -r to store what is in it.")
    top = path.resolve().name
    for directory, folders, files in os.walk(path, onerror=_refused):
        folders.sort()
        for name in sorted(files):
            place = Path(directory) / name
            if not _never_ends(place):
                yield _item(place, (Path(top) / place.relative_to(path)).as_posix())


def _refused(error: OSError) -> None:
    """A directory that cannot be read is a failure, not an empty one."""
    raise error


def _never_ends(path: Path) -> bool:
    """Whether it is a pipe, a socket or a device, which may be read for ever."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode)


def _item(path: Path, name: str) -> Item:
    """Whether it can be read is found out when it is sent, so that one failure stays one."""
    try:
        status = path.stat()
    except OSError:
        return Item(path, name)
    return Item(path, name, status.st_size, status.st_mtime_ns)
