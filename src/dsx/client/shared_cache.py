"""A cache that belongs to a group: what one of them makes, the others can read and replace."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path


def is_shared(directory: Path) -> bool:
    """Whether *directory* is a group's: setgid and writable by it, as ``chmod g+ws`` makes it."""
    try:
        mode = directory.stat().st_mode
    except OSError:
        return False
    return bool(mode & stat.S_ISGID and mode & stat.S_IWGRP)


def share(path: Path, group: Path) -> None:
    """Let the group have what the owner of *path* has, if the directory *group* is a group's.

    Elsewhere, and for what somebody else has made, the umask has said all there is to say.
    """
    if is_shared(group):
        with contextlib.suppress(OSError):
            mode = stat.S_IMODE(path.stat().st_mode)
            path.chmod(mode | (mode & stat.S_IRWXU) >> 3)


def make_directories(directory: Path, top: Path) -> None:
    """Make *directory* and those above it, however deep it lies, shared if *top* is.

    `FileExistsError` or `NotADirectoryError` if something else is in the way.
    """
    missing: list[Path] = []
    current = directory
    while not current.is_dir() and current != current.parent:
        missing.append(current)
        current = current.parent
    for path in reversed(missing):  # not by recursion: some datasets are deeper than Python's stack
        try:
            os.mkdir(path)  # noqa: PTH102 (pathlib's own makes parents by recursion)
        except FileExistsError:
            if not path.is_dir():
                raise
        else:
            if path != top:
                share(path, top)
