"""Large buffers for bodies on their way in: a bounded number of them, lent to whoever receives."""

from __future__ import annotations

import mmap
from collections import deque

LARGE = 1024 * 1024
"""Bytes of a buffer."""
MOST = 64
"""How many there are at most in a process; who gets none goes on with a small one."""
KEPT = 8
"""How many stay when nobody uses them; others go back to the system at once."""


class BufferPool:
    """Buffers that are memory maps: what is let go of leaves the process, unlike heap memory."""

    def __init__(self, most: int = MOST, kept: int = KEPT) -> None:
        """Lend *most* buffers at a time, and keep *kept* unused ones."""
        self._left = most
        self._kept = kept
        self._unused: deque[mmap.mmap] = deque()

    def take(self) -> mmap.mmap | None:
        """A buffer of `LARGE` bytes; None if all are lent."""
        if not self._left:
            return None
        self._left -= 1
        return self._unused.pop() if self._unused else mmap.mmap(-1, LARGE)

    def give_back(self, buffer: mmap.mmap) -> None:
        """End the loan of *buffer*, into which nobody writes or looks any more."""
        self._left += 1
        if len(self._unused) < self._kept:
            self._unused.append(buffer)
        else:
            buffer.close()
