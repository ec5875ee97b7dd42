"""Disk space reserved by the hub, as a way out of a full disk.

Deleting needs space: the catalog's log grows before anything is freed. So a file of some MiB lies
beside the catalog. When a transaction finds the disk full, the file is truncated and the
transaction repeated; uploads do not get that space (`owed`), and the file is made again once there
is enough.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)

SIZE = 16 * 1024 * 1024
_SHARE = 10
"""At most a tenth of a small disk."""


class Reserve:
    """The reserve file. Several processes may share it; all methods are blocking, and quick."""

    def __init__(self, path: Path, size: int | None = None) -> None:
        """Reserve *size* bytes in *path*, from `take` on; None: 16 MiB, on a small disk less."""
        self._path = path
        if size is None:
            disk = os.statvfs(path.parent)
            size = min(SIZE, disk.f_blocks * disk.f_frsize // _SHARE)
        self.size = size

    @property
    def held(self) -> int:
        """Return the bytes reserved now."""
        try:
            return self._path.stat().st_size
        except FileNotFoundError:
            return 0

    def owed(self) -> int:
        """Return the bytes that may be free but that only the catalog may use."""
        return max(0, self.size - self.held)

    def owed_in(self, directory: Path) -> int:
        """Return `owed` for writers in *directory*, or 0 if that is on another disk."""
        owed = self.owed()
        if owed and directory.stat().st_dev != self._path.parent.stat().st_dev:
            return 0
        return owed

    def free(self) -> tuple[int, int]:
        """Return the free bytes and files of the disk, without `owed`."""
        disk = os.statvfs(self._path.parent)
        return disk.f_bavail * disk.f_frsize - self.owed(), disk.f_favail

    def give_up(self) -> bool:
        """Release the space to the catalog; returns whether there was any."""
        held = self.held
        if not held:
            return False
        log.warning("the disk is full: the reserve is released so that files can be deleted")
        with contextlib.suppress(FileNotFoundError):
            os.truncate(self._path, 0)
        return True

    def take(self) -> bool:
        """Reserve the space (again), if twice as much is free; returns whether it is reserved."""
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
