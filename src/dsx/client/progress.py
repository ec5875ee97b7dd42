"""How transfers tell how far they are."""

from __future__ import annotations

import threading
from collections.abc import Callable

Progress = Callable[[int, int | None, str], None]
"""Called with bytes done, bytes in total (None: unknown) and what is being transferred."""


class Meter:
    """Adds up the bytes of a transfer, from several threads, and tells a `Progress`."""

    def __init__(self, progress: Progress | None, total: int | None, name: str) -> None:
        """Tell *progress* (None: nobody) of *total* bytes of *name*."""
        self._progress = progress
        self._total = total
        self._name = name
        self._done = 0
        self._lock = threading.Lock()

    def add(self, size: int) -> None:
        """*size* more bytes are done (fewer, if negative: they have to come again)."""
        if self._progress is not None:
            with self._lock:
                self._done += size
                self._progress(self._done, self._total, self._name)
