"""Caches shared by a group, whose members can read and replace each other's files."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path


def is_shared(directory: Path) -> bool:
    """Whether *directory* is setgid and group-writable, as set by ``chmod g+ws``."""
    try:
        mode = directory.stat().st_mode
    except OSError:
        return False
    return bool(mode & stat.S_ISGID and mode & stat.S_IWGRP)


def share(path: Path, group: Path) -> None:
    """Give the group the owner's permissions on *path*, if the directory *group* is shared.

    Otherwise, and for files of other users, the mode is left as the umask has set it.
    """
    if is_shared(group):
        with contextlib.suppress(OSError):
            mode = stat.S_IMODE(path.stat().st_mode)
            path.chmod(mode | (mode & stat.S_IRWXU) >> 3)


def make_directories(directory: Path, top: Path) -> None:
    """Create *directory* and its parents, shared if *top* is.

    Raises `FileExistsError` or `NotADirectoryError` if something else is in the way.
    """
    missing: list[Path] = []
    current = directory
    while not current.is_dir() and current != current.parent:
        missing.append(current)
        current = current.parent
    for path in reversed(missing):  # no recursion: datasets may be deeper than Python's stack
        try:
            os.mkdir(path)  # noqa: PTH102 (pathlib creates parents by recursion)
        except FileExistsError:
            if not path.is_dir():
                raise
        else:
            if path != top:
                share(path, top)
