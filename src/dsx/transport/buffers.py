"""Buffers for bodies on their way in: large ones are few, and lent while bytes come quickly."""

from __future__ import annotations

import mmap
from collections import deque
from contextlib import suppress

SMALL = 16 * 1024
LARGE = 1024 * 1024
MOST = 64
KEPT = 8


class Buffer:
    """Room for some bytes of a body."""

    __slots__ = ("_lent", "_pool", "view")

    def __init__(self, pool: BufferPool, lent: mmap.mmap | None) -> None:
        """One that is *lent* by *pool*, or None: a small one of its own."""
        self._pool = pool
        self._lent = lent
        self.view = memoryview(bytearray(SMALL) if lent is None else lent)

    def release(self) -> None:
        """Give it back; nobody looks into it any more."""
        self.view.release()
        if self._lent is not None:
            self._pool.take_back(self._lent)
            self._lent = None


class BufferPool:
    """Lends `MOST` large buffers at a time in a process; whoever gets none has a small one.

    They are memory maps: what is let go of leaves the process, unlike memory of the heap. `KEPT`
    stay when nobody uses them.
    """

    def __init__(self, most: int = MOST, kept: int = KEPT) -> None:
        self._left = most
        self._kept = kept
        self._unused: deque[mmap.mmap] = deque()

    def buffer(self, *, large: bool) -> Buffer:
        """A buffer; a *large* one if there is one left."""
        if not (large and self._left):
            return Buffer(self, None)
        self._left -= 1
        return Buffer(self, self._unused.pop() if self._unused else mmap.mmap(-1, LARGE))

    def take_back(self, lent: mmap.mmap) -> None:
        """End a loan."""
        self._left += 1
        if len(self._unused) < self._kept:
            self._unused.append(lent)
            return
        with suppress(BufferError):  # a failure's traceback looks into it: it goes with that
            lent.close()
