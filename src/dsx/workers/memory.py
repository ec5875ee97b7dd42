"""Returns freed memory to the system, and keeps the garbage collector from stopping it for long.

glibc's allocator keeps freed memory that lies below memory in use, so a server that once held many
requests would keep their memory forever.
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
"""Bytes that the process must have grown by before trimming is worth a walk of the heap."""
_STATM = Path("/proc/self/statm")


THRESHOLDS = (5_000, 10, 10)
"""Thresholds for `gc.set_threshold`: new objects, then multiples."""


def collect_less() -> None:
    """Make the garbage collector stop the process more rarely, and for less time.

    It traverses all objects while no request is served: a hub that has just started has some
    300,000 permanent ones, and each connection adds its own.
    """
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)


class MemoryKeeper(Reconciler):
    """Checks every few seconds for memory to return."""

    def __init__(self, interval: float = 5) -> None:
        super().__init__(interval)
        self._trim = _trimmer()
        self._first = _resident()

    async def step(self) -> None:
        """Trim the heap if the process has grown."""
        if self._trim is not None and _resident() > self._first + _SPARE:
            await asyncio.to_thread(self._trim, 0)


def _resident() -> int:
    """Resident bytes of this process; 0 if unknown."""
    try:
        return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def _trimmer() -> Callable[[int], int] | None:
    """Glibc's ``malloc_trim``; None with another C library."""
    trim: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return trim
