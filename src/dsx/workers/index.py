"""Keeps the index of datasets in place up to date, and fills in their SHA-256s."""

from __future__ import annotations

import asyncio
import fcntl
from io import TextIOWrapper
from pathlib import Path
from types import TracebackType

import structlog

from dsx.hub.datasets import Datasets
from dsx.workers.reconciler import Reconciler

log = structlog.get_logger(__name__)


class Indexer(Reconciler):
    """Scans every ten seconds, and hashes, in one of the processes that share a data directory.

    That process holds the lock for life, because it follows changes in the directories. The lock
    only saves work: two indexers at once would be correct, too.
    """

    def __init__(self, datasets: Datasets, lock: Path, interval: float = 10) -> None:
        super().__init__(interval)
        self._datasets = datasets
        self._lock = lock
        self._held: TextIOWrapper | None = None
        self._hashing: asyncio.Task[None] | None = None

    async def step(self) -> None:
        """Scan what is due, unless another process has the lock; hash concurrently."""
        if self._held is None:
            self._held = await asyncio.to_thread(self._take)
        if self._held is None:
            return
        await self._datasets.scan_all()
        if self._hashing is None or self._hashing.done():
            self._hashing = asyncio.create_task(self._hash(), name="hash datasets")

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await super().__aexit__(kind, error, trace)
        await self._datasets.aclose()
        if self._hashing is not None:
            self._hashing.cancel()
            await asyncio.gather(self._hashing, return_exceptions=True)
        if self._held is not None:
            self._held.close()

    async def _hash(self) -> None:
        try:
            await self._datasets.hash_pending()
        except Exception as error:
            log.exception("hashing failed", error=str(error))

    def _take(self) -> TextIOWrapper | None:
        file = self._lock.open("w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return None
        return file
