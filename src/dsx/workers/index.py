"""Keeps the index of datasets in place up to date, and fills in their SHA-256s."""

from __future__ import annotations

import asyncio
import fcntl
from pathlib import Path

from dsx.hub.datasets import Datasets
from dsx.workers.reconciler import Reconciler


class Indexer(Reconciler):
    """Scans and hashes every ten seconds, in one of the processes that share a data directory.

    The lock only saves work: two indexers at once would be as right as one.
    """

    def __init__(self, datasets: Datasets, lock: Path, interval: float = 10) -> None:
        super().__init__(interval)
        self._datasets = datasets
        self._lock = lock

    async def step(self) -> None:
        """Reconcile all datasets, unless another process is at it."""
        with await asyncio.to_thread(self._lock.open, "w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            await self._datasets.reconcile()
