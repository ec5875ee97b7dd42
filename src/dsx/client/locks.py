"""Exclusive locks on files, between processes and threads."""

from __future__ import annotations

import os
from pathlib import Path

from dsx.client.system import lock, open_file


def lock_file(path: Path, mode: int = 0o600) -> int | None:
    """Lock the file at *path*, created if missing; return a descriptor, or None if it is locked.

    Closing the descriptor releases the lock, as does the end of the process, even by a kill. The
    file must be removed or renamed before the lock is released.
    """
    while True:
        descriptor = open_file(path, os.O_RDWR | os.O_CREAT, mode)
        try:
            lock(descriptor)
            if _is_at(path, descriptor):
                return descriptor
        except OSError:  # locked by another, or the file system has no locks
            os.close(descriptor)
            return None
        os.close(descriptor)  # its last owner removed it before we had the lock


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        found = path.stat()
    except FileNotFoundError:
        return False
    return os.path.samestat(found, os.fstat(descriptor))
