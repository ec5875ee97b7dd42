"""Which files a command is about: arguments, patterns and directories as a list."""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
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


@dataclass(slots=True)
class Selection:
    """What arguments stand for.

    Attributes:
        items: the files to store, in their order.
        left_out: what lies between them and is none, each with what it is instead.
        failed: directories that cannot be read.
    """

    items: list[Item] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    failed: list[OSError] = field(default_factory=list)


def select(arguments: Sequence[str], *, recursive: bool) -> Selection:
    """What *arguments* stand for; a directory's files by their paths.

    A file's name is its path's last part; below a directory it begins with the directory's own.
    A pattern is expanded if nothing is called that. Raises `NotFound` for a pattern without a
    match, `Invalid` for a directory unless *recursive*, and for one name that several would get.
    """
    found = Selection()
    for argument in arguments:
        if argument == STREAM:
            found.items.append(Item(None, ""))
            continue
        for path in _expanded(argument):
            _add(found, path, recursive=recursive)
    names: dict[str, Item] = {}
    for item in found.items:
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


def _add(found: Selection, path: Path, *, recursive: bool) -> None:
    if not path.is_dir():
        found.items.append(_item(path, path.name))
        return
    if not recursive:
        raise Invalid(f"{path} is a directory; use -r to store what is in it.")
    top = path.resolve().name
    for directory, folders, files in os.walk(path, onerror=found.failed.append):
        if not folders and not files:
            found.left_out.append(f"{directory} (an empty directory)")
        folders.sort()
        for name in folders:
            place = Path(directory, name)
            if os.path.islink(place):  # noqa: PTH114 (Path's own fails where a path is too long)
                found.left_out.append(f"{place} (a link to a directory)")
        for name in sorted(files):
            place = Path(directory, name)
            if (what := _never_ends(place)) is not None:
                found.left_out.append(f"{place} ({what})")
            else:
                found.items.append(_item(place, (Path(top) / place.relative_to(path)).as_posix()))


def _never_ends(path: Path) -> str | None:
    """What may be read for ever: a pipe, a socket or a device; None if it is none of these."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return None
    if stat.S_ISREG(mode):
        return None
    return "a pipe" if stat.S_ISFIFO(mode) else "a socket" if stat.S_ISSOCK(mode) else "a device"


def _item(path: Path, name: str) -> Item:
    """Whether it can be read is found out when it is sent, so that one failure stays one."""
    try:
        status = path.stat()
    except OSError:
        return Item(path, name)
    return Item(path, name, status.st_size, status.st_mtime_ns)
