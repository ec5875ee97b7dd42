"""Opens files below a root, and never one outside it, nor one of the hub's own.

Symbolic links are followed only if they end up below the root. The final walk opens one directory
after the other with ``O_NOFOLLOW``, so a link created between the check and the open leads to an
error, not out; and each opened directory is compared with the private ones by identity.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from dsx.core.errors import NotFound
from dsx.core.names import check_relative_path
from dsx.hub.datasets.excluded import Private

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LINK = {errno.ELOOP, errno.ENOTDIR}  # O_NOFOLLOW on a link to a file, to a directory
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


@dataclass(frozen=True, slots=True)
class Tree:
    """The files below a directory, except *private* ones. All methods are blocking."""

    root: Path
    private: Private = field(default_factory=Private)

    def open(self, path: str) -> int:
        """Return a descriptor of the regular file *path*.

        Raises `NotFound` if it cannot be read, or is a directory, a device, a link that leads out,
        or a private file; `Invalid` if *path* is not a relative path.
        """
        check_relative_path(path)
        try:
            return self.descriptor(path)
        except (OSError, ValueError):
            raise NotFound(f"There is no file {path!r} in this dataset.", {"path": path}) from None

    def status(self, path: str) -> os.stat_result:
        """Return the status of the regular file *path*; raises as `open` does."""
        descriptor = self.open(path)
        try:
            return os.fstat(descriptor)
        finally:
            os.close(descriptor)

    def has_directory(self, path: str) -> bool:
        """Return whether *path* is a directory, reached without links, that is not private."""
        try:
            os.close(_walk(self.root, tuple(path.split("/")), self.private))
        except OSError:
            return False
        return True

    def descriptor(self, path: str) -> int:
        """Like `open`, but raises the reason: `OSError`, or `ValueError` if *path* leads out."""
        parts = tuple(path.split("/"))
        try:
            descriptor = self._walk(parts)
        except OSError as error:
            if error.errno not in _LINK:
                raise
            descriptor = self._walk(self._resolve(path))
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or self.private.has_file(status):
            os.close(descriptor)
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return descriptor

    def _resolve(self, path: str) -> tuple[str, ...]:
        """Return *path* with its links followed, as parts below the root; or `ValueError`."""
        resolved = os.path.realpath(self.root / path, strict=True)
        return Path(resolved).relative_to(os.path.realpath(self.root)).parts

    def _walk(self, parts: tuple[str, ...]) -> int:
        *above, name = parts
        directory = _walk(self.root, tuple(above), self.private)
        try:
            return os.open(name, _FILE, dir_fd=directory)
        finally:
            os.close(directory)


def open_to_move(root: Path, path: str) -> tuple[int, int]:
    """Return descriptors of the regular file *path* below *root*, and of its directory (blocking).

    To move it away, so no link is followed at all. Raises as `Tree.open` does.
    """
    missing = NotFound(f"There is no file {path!r}.", {"path": path})
    *above, name = check_relative_path(path).split("/")
    try:
        directory = _walk(root, tuple(above), Private())
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


def _walk(root: Path, parts: tuple[str, ...], private: Private) -> int:
    """Return a descriptor of the directory *parts*; `FileNotFoundError` if it is private."""
    current = os.open(root, _DIRECTORY & ~os.O_NOFOLLOW)
    for part in (*parts, None):
        if private.has_directory(os.fstat(current)):
            os.close(current)
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        if part is not None:
            try:
                following = os.open(part, _DIRECTORY, dir_fd=current)
            finally:
                os.close(current)
            current = following
    return current
