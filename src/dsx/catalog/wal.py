"""SQLite's write-ahead log on a failing disk.

SQLite survives a failed fsync of its log if everything before it was synced: it rolls the
transaction back and writes its frames again. But transactions that need not be durable leave
unsynced frames (``synchronous=NORMAL``), and a failed fsync loses these, too. SQLite does not know:
it reads zeros from them, and every commit after them, synced or not, is behind a gap that ends the
log when it is recovered. (This is why PostgreSQL stops immediately and recovers.)

So after a failed fsync SQLite is made to recover its log immediately, as after a crash: the header
of the log's index, which lies in shared memory and which every connection of every process reads
before it begins, is made invalid. Recovery verifies each frame and ends the log at the first lost
one. Only transactions that a crash may undo are lost.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

_HEADER = 96
"""Bytes of the header and its copy: https://sqlite.org/walformat.html."""


class Log:
    """The log of one database, with recovery after disk failures."""

    def __init__(self, database: Path) -> None:
        self._log = database.with_name(f"{database.name}-wal")
        self._index = database.with_name(f"{database.name}-shm")
        self._descriptor: int | None = None

    def reread(self) -> None:
        """Make SQLite read the log from disk: memory may show pages that were lost (blocking)."""
        with contextlib.suppress(FileNotFoundError):
            descriptor = os.open(self._log, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(descriptor)

    def recover(self) -> None:
        """Make SQLite verify the log before its next transaction, in every process (blocking).

        Only for the thread that writes, between two transactions.
        """
        self.reread()
        with contextlib.suppress(FileNotFoundError):
            if self._descriptor is None:
                # Kept open: closing it would release all locks that SQLite has on this file.
                self._descriptor = os.open(self._index, os.O_RDWR | os.O_CLOEXEC)
            os.pwrite(self._descriptor, bytes(_HEADER), 0)

    def close(self) -> None:
        """Release the files once SQLite has none open any more. Idempotent."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
