"""SQLite's write-ahead log on a disk that fails.

SQLite survives a failed fsync of its log if all before it was synced: it takes the transaction back
and writes its frames anew. But transactions that need not be durable leave frames that nobody has
synced (``synchronous=NORMAL``), and a failed fsync loses these, too. SQLite does not know: it reads
zeros from them, and every commit after them, synced or not, is behind a gap that ends the log when
it is recovered. (It is the same trap that makes PostgreSQL stop at once and recover.)

So after a failed fsync SQLite is made to recover its log at once, as after a crash: the header of
the index of the log, which lies in shared memory and which every connection of every process looks
at before it begins, is made invalid. Recovery verifies each frame and ends the log at the first
that is lost. What goes are transactions that a crash may undo.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

_HEADER = 96
"""Bytes of the header and its copy: https://sqlite.org/walformat.html."""


class Log:
    """The log of one database, as this process may distrust it."""

    def __init__(self, database: Path) -> None:
        self._log = database.with_name(f"{database.name}-wal")
        self._index = database.with_name(f"{database.name}-shm")
        self._descriptor: int | None = None

    def reread(self) -> None:
        """Have the log be read from the disk: memory may show pages that were lost (blocking)."""
        with contextlib.suppress(FileNotFoundError):
            descriptor = os.open(self._log, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(descriptor)

    def recover(self) -> None:
        """Have SQLite verify the log before its next transaction, in every process (blocking).

        Only for the thread that writes, between two transactions.
        """
        self.reread()
        with contextlib.suppress(FileNotFoundError):
            if self._descriptor is None:
                # Kept open: closing it would give up all locks that SQLite has on this file.
                self._descriptor = os.open(self._index, os.O_RDWR | os.O_CLOEXEC)
            os.pwrite(self._descriptor, bytes(_HEADER), 0)

    def close(self) -> None:
        """Release what is held, once SQLite has nothing open any more. Idempotent."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
