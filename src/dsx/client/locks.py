"""Files that one process, and one thread of it, has to itself."""

from __future__ import annotations

import os
from pathlib import Path

from dsx.client.system import lock, open_file


def lock_file(path: Path, mode: int = 0o600) -> int | None:
    """A descriptor of the file at *path*, made if need be, with its lock; None: it is taken.

    Closing the descriptor gives the lock back, as does the end of the process, however it ends.
    Whoever removes or renames the file does so before that.
    """
    while True:
        descriptor = open_file(path, os.O_RDWR | os.O_CREAT, mode)
        try:
            lock(descriptor)
            if _is_at(path, descriptor):
                return descriptor
        except OSError:  # taken; or the file system has no locks, and then nobody can be sure
            os.close(descriptor)
            return None
        os.close(descriptor)  # its last owner removed it before we had the lock


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        found = path.stat()
    except FileNotFoundError:
        return False
    return os.path.samestat(found, os.fstat(descriptor))
