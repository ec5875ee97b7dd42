"""Room that the hub keeps for itself, so that there is a way out of a full disk.

Deleting needs room: the catalog's log grows before anything is freed. So a file of some MiB lies
beside the catalog. When a transaction finds the disk full, the file is given up and the transaction
repeated; uploads do not get that room (`owed`), and the file is made again once there is enough.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)

SIZE = 16 * 1024 * 1024
_SHARE = 10
"""A tenth of a small disk at most."""


class Reserve:
    """The file. Several processes may share it; all methods are blocking, and quick."""

    def __init__(self, path: Path, size: int | None = None) -> None:
        """Keep *size* bytes in *path*, from `take` on; None: 16 MiB, of a small disk less."""
        self._path = path
        if size is None:
            disk = os.statvfs(path.parent)
            size = min(SIZE, disk.f_blocks * disk.f_frsize // _SHARE)
        self.size = size

    @property
    def held(self) -> int:
        """Bytes that are kept now."""
        try:
            return self._path.stat().st_size
        except FileNotFoundError:
            return 0

    def owed(self) -> int:
        """Bytes that are free, perhaps, and that nobody but the catalog may use."""
        return max(0, self.size - self.held)

    def owed_in(self, directory: Path) -> int:
        """The same for who writes in *directory*, which may lie on another disk."""
        owed = self.owed()
        if owed and directory.stat().st_dev != self._path.parent.stat().st_dev:
            return 0
        return owed

    def free(self) -> tuple[int, int]:
        """Bytes and files for which the disk has room, without what is owed."""
        disk = os.statvfs(self._path.parent)
        return disk.f_bavail * disk.f_frsize - self.owed(), disk.f_favail

    def give_up(self) -> bool:
        """Let the catalog have the room; whether there was any left."""
        held = self.held
        if not held:
            return False
        log.warning("the disk is full: the reserve is released so that files can be deleted")
        with contextlib.suppress(FileNotFoundError):
            os.truncate(self._path, 0)
        return True

    def take(self) -> bool:
        """Keep the room (again), if there is twice as much; whether it is kept."""
        missing = self.owed()
        if not missing:
            return True
        disk = os.statvfs(self._path.parent)
        if disk.f_bavail * disk.f_frsize < 2 * missing:
            return False
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, self.size)
        except OSError:
            os.ftruncate(descriptor, 0)
            return False
        finally:
            os.close(descriptor)
        return True
