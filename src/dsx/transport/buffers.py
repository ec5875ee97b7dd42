"""Buffers for incoming bodies: few large ones, lent only while bytes arrive quickly."""

from __future__ import annotations

import mmap
from collections import deque
from contextlib import suppress

SMALL = 16 * 1024
LARGE = 1024 * 1024
MOST = 64
KEPT = 8


class Buffer:
    """A buffer for bytes of a body."""

    __slots__ = ("_lent", "_pool", "view")

    def __init__(self, pool: BufferPool, lent: mmap.mmap | None) -> None:
        """Wrap *lent* memory of *pool*; None: allocate a small buffer."""
        self._pool = pool
        self._lent = lent
        self.view = memoryview(bytearray(SMALL) if lent is None else lent)

    def release(self) -> None:
        """Return it; it must not be used any more."""
        self.view.release()
        if self._lent is not None:
            self._pool.take_back(self._lent)
            self._lent = None


class BufferPool:
    """Lends up to `MOST` large buffers at a time per process, then small ones.

    Large buffers are memory maps: once closed, their memory leaves the process, unlike heap memory.
    `KEPT` unused ones are retained.
    """

    def __init__(self, most: int = MOST, kept: int = KEPT) -> None:
        self._left = most
        self._kept = kept
        self._unused: deque[mmap.mmap] = deque()

    def buffer(self, *, large: bool) -> Buffer:
        """Return a buffer, a *large* one if available."""
        if not (large and self._left):
            return Buffer(self, None)
        self._left -= 1
        return Buffer(self, self._unused.pop() if self._unused else mmap.mmap(-1, LARGE))

    def take_back(self, lent: mmap.mmap) -> None:
        """Take *lent* memory back."""
        self._left += 1
        if len(self._unused) < self._kept:
            self._unused.append(lent)
            return
        with suppress(BufferError):  # a traceback still refers to it and will free it
            lent.close()
