"""Expands arguments, patterns and directories into a list of files."""

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
        path: None for standard input.
        name: name of the stored file.
        size: in bytes; 0 if unknown.
        mtime_ns: time of the last change; 0 if unknown.
    """

    path: Path | None
    name: str
    size: int = 0
    mtime_ns: int = 0

    @property
    def label(self) -> str:
        """The file's name in messages."""
        return str(self.path) if self.path is not None else "standard input"


@dataclass(slots=True)
class Selection:
    """The files selected by arguments.

    Attributes:
        items: files to store, in order.
        left_out: skipped entries that are not files, each with its kind.
        failed: errors from unreadable directories.
    """

    items: list[Item] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    failed: list[OSError] = field(default_factory=list)


def select(arguments: Sequence[str], *, recursive: bool) -> Selection:
    """Return the files that *arguments* select; those of a directory are sorted.

    A file is named by the last part of its path; below a directory the name begins with the
    directory's own. A pattern is expanded unless it is itself an existing path. Raises `NotFound`
    for a pattern without a match, and `Invalid` for a directory unless *recursive*, or if two files
    would get the same name.
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
        raise Invalid(f"{path} is a directory; use -r to store its files.")
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
    """The kind of a path whose reading may never end: pipe, socket or device; else None."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return None
    if stat.S_ISREG(mode):
        return None
    return "a pipe" if stat.S_ISFIFO(mode) else "a socket" if stat.S_ISSOCK(mode) else "a device"


def _item(path: Path, name: str) -> Item:
    """Describe a file; an unreadable one fails only when it is sent, so others are stored."""
    try:
        status = path.stat()
    except OSError:
        return Item(path, name)
    return Item(path, name, status.st_size, status.st_mtime_ns)
