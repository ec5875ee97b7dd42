"""Opens files below a root, and never one outside it.

Symbolic links are followed only if they end up below the root. The final walk opens one directory
after the other with ``O_NOFOLLOW``, so a link put in place between the check and the open leads to
an error, not out.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from dsx.core.errors import NotFound
from dsx.core.names import check_relative_path

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LINK = {errno.ELOOP, errno.ENOTDIR}  # what O_NOFOLLOW says of a link to a file, to a directory
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


def open_file(root: Path, path: str) -> int:
    """A descriptor of the regular file *path* below *root* (blocking).

    Raises `NotFound` if nothing is there, or a directory, a device, or a link that leads out, and
    `Invalid` if *path* is not a relative path at all.
    """
    missing = NotFound(f"There is no file {path!r} in this dataset.", {"path": path})
    parts = tuple(check_relative_path(path).split("/"))
    try:
        try:
            descriptor = _walk(root, parts)
        except OSError as error:
            if error.errno not in _LINK:
                raise
            descriptor = _walk(root, _resolve(root, path))
    except (OSError, ValueError):
        raise missing from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise missing
    return descriptor


def open_to_move(root: Path, path: str) -> tuple[int, int]:
    """Descriptors of the regular file *path* below *root*, and of its directory (blocking).

    For who is going to take it away, so no link is followed at all. Raises as `open_file` does.
    """
    missing = NotFound(f"There is no file {path!r}.", {"path": path})
    *above, name = check_relative_path(path).split("/")
    try:
        directory = _walk(root, tuple(above), into=_DIRECTORY)
        try:
            descriptor = os.open(name, _FILE, dir_fd=directory)
        except BaseException:
            os.close(directory)
            raise
    except (OSError, ValueError):
        raise missing from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        os.close(directory)
        raise missing
    return descriptor, directory


def _resolve(root: Path, path: str) -> tuple[str, ...]:
    """*path* with its links followed, as parts below *root*; `ValueError` if it leads out."""
    resolved = os.path.realpath(root / path, strict=True)
    return Path(resolved).relative_to(os.path.realpath(root)).parts


def _walk(root: Path, parts: tuple[str, ...], *, into: int = _FILE) -> int:
    current = os.open(root, _DIRECTORY & ~os.O_NOFOLLOW)
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        try:
            following = os.open(part, into if last else _DIRECTORY, dir_fd=current)
        finally:
            os.close(current)
        current = following
    return current
