"""Target paths of several downloads, determined before the first byte is fetched."""

from __future__ import annotations

import os
import tempfile
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from dsx.client.errors import Conflict
from dsx.client.models import FileInfo
from dsx.client.names import local_tree
from dsx.core.names import in_the_way

_PROBE = "dsx-\u00e4-"  # has both cases, and two forms of the same letter


@dataclass(frozen=True, slots=True)
class Destination:
    """A file of the hub and its target path."""

    info: FileInfo
    path: Path


def destinations(infos: Sequence[FileInfo], directory: Path) -> list[Destination]:
    """Return the paths of *infos* below *directory*, by full name; duplicates are merged.

    Raises `Conflict` if, as the file system there compares names, two would be the same file or one
    the directory of another, or if something else is in the way; `Invalid` for a name that this
    system does not allow.
    """
    wanted = {info.id: info for info in infos}
    names = {id_: local_tree(info.name) for id_, info in wanted.items()}
    _refuse_clashes([(names[id_], wanted[id_]) for id_ in names], directory)
    found = [Destination(wanted[id_], directory / names[id_]) for id_ in names]
    for one in found:
        _refuse_obstacles(one.path, directory)
    return found


def refuse_clashes_in_archive(infos: Sequence[FileInfo]) -> None:
    """Raise `Conflict` if one of *infos* would be a directory of another in an archive."""
    clash = in_the_way(info.name for info in infos)
    if clash is not None:
        one, other = (next(info for info in infos if info.name == name) for name in clash)
        raise _in_each_others_way(one, other, "the archive")


def _in_each_others_way(one: FileInfo, other: FileInfo, where: str | Path) -> Conflict:
    return Conflict(
        f"{one.name!r} (number {one.number}) and {other.name!r} (number {other.number}) would "
        f"have conflicting paths in {where}; nothing was downloaded. Download one of them "
        "separately."
    )


def _refuse_clashes(names: Sequence[tuple[str, FileInfo]], directory: Path) -> None:
    if _clash(names, _folded) is None:
        return
    clash = _clash(names, comparison(directory))
    if clash is not None:
        one, other = clash
        raise _in_each_others_way(one, other, directory)


def _clash(
    names: Sequence[tuple[str, FileInfo]], same: Callable[[str], str]
) -> tuple[FileInfo, FileInfo] | None:
    """Return two files with the same path, or one whose path is a directory of the other's."""
    files: dict[str, FileInfo] = {}
    for name, info in names:
        other = files.setdefault(same(name), info)
        if other is not info:
            return other, info
    for name, info in names:
        for parent in PurePosixPath(same(name)).parents:
            if str(parent) in files:
                return files[str(parent)], info
    return None


def _refuse_obstacles(path: Path, directory: Path) -> None:
    """Raise `Conflict` if *path* is a directory or below a file."""
    if path.is_dir():
        raise Conflict(f"{path} is a directory; nothing was downloaded.")
    for parent in path.parents:
        if os.path.lexists(parent):
            if not parent.is_dir():
                raise Conflict(f"{parent} is not a directory; nothing was downloaded.")
            return
        if parent == directory.parent:
            return


def comparison(directory: Path) -> Callable[[str], str]:
    """Return a function that maps names to equal values if *directory* holds them as one file.

    The file system is probed; if that is impossible, the least distinguishing one is assumed.
    """
    while not directory.is_dir() and directory != directory.parent:
        directory = directory.parent
    try:
        with tempfile.NamedTemporaryFile(prefix=f".{_PROBE}", dir=directory) as probe:
            path = Path(probe.name)
            any_case = path.with_name(path.name.swapcase()).exists()
            any_form = path.with_name(unicodedata.normalize("NFD", path.name)).exists()
    except OSError:
        return _folded

    def same(name: str) -> str:
        form = unicodedata.normalize("NFC", name) if any_form else name
        return form.casefold() if any_case else form

    return same


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
