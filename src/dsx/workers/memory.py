"""Gives memory back to the system that the process needed for a while.

What is freed stays with glibc's allocator wherever something lies behind it, so that a server that
once held many requests would look for ever as if it still did.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
from collections.abc import Callable
from pathlib import Path

from dsx.workers.reconciler import Reconciler

_SPARE = 16 * 1024 * 1024
"""More than the process had at first: not worth the walk through the heap before that."""
_STATM = Path("/proc/self/statm")


THRESHOLDS = (5_000, 10, 10)
"""Of the garbage collector, `gc.set_threshold`: new objects, then multiples."""


def collect_less() -> None:
    """Have the garbage collector stop the process more rarely, and for less time.

    It looks through all objects that there are while nobody is served: a hub that has just
    started has some 300,000, which stay as long as it does, and each connection has its own.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)


class MemoryKeeper(Reconciler):
    """Looks every few seconds whether there is something to give back."""

    def __init__(self, interval: float = 5) -> None:
        super().__init__(interval)
        self._trim = _trimmer()
        self._first = _resident()

    async def step(self) -> None:
        """Have the allocator give back what is free, if the process has grown."""
        if self._trim is not None and _resident() > self._first + _SPARE:
            await asyncio.to_thread(self._trim, 0)


def _resident() -> int:
    """Bytes of this process that are in memory; 0 where the system does not say."""
    try:
        return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def _trimmer() -> Callable[[int], int] | None:
    """Glibc's ``malloc_trim``; None with another C library."""
    trim: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return trim
