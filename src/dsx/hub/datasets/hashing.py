"""Computes the SHA-256s missing from the index, in the background, of all datasets in turns."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from functools import partial

import structlog

from dsx.catalog import datasets as index
from dsx.catalog.database import Catalog
from dsx.core.digest import Digest
from dsx.core.errors import DSXError
from dsx.core.model import ManifestEntry
from dsx.hub.datasets import scan
from dsx.hub.datasets.beneath import Tree
from dsx.hub.datasets.indexing import Indexing

log = structlog.get_logger(__name__)

_BATCH = 64
_SECONDS = 2.0  # after which another dataset has its turn
_MOST_REMEMBERED = 10_000


class Hashing:
    """Reads the new files in the datasets of one data directory."""

    def __init__(self, catalog: Catalog, indexing: Indexing) -> None:
        self._catalog = catalog
        self._indexing = indexing
        self._stopped = threading.Event()
        self._unreadable: set[tuple[int, str, str]] = set()

    async def run(self) -> None:
        """Compute what is missing now. A failing dataset does not affect the others."""
        turns = {known.name: "" for known in await self._indexing.all_known()}
        while turns:
            for dataset, after in list(turns.items()):
                try:
                    last = await self._some(dataset, after)
                except (DSXError, OSError) as error:
                    log.debug("dataset not hashed", dataset=dataset, why=str(error))
                    last = None
                if last is None:
                    del turns[dataset]
                else:
                    turns[dataset] = last

    def stop(self) -> None:
        """Stop soon, even in the middle of a large file: shutdown waits for threads."""
        self._stopped.set()

    async def _some(self, dataset: str, after: str) -> str | None:
        """Compute some, of files with greater paths; returns the last one, or None at the end."""
        known = await self._indexing.known(dataset)
        if known is None:
            return None
        entries = await self._catalog.read(
            partial(index.pending, number=known.number, after=after, limit=_BATCH)
        )
        if not entries:
            return None
        tree = await self._indexing.tree(dataset)
        last, digests = await asyncio.to_thread(self._digests, known.number, tree, entries)
        if digests:
            await self._catalog.write(
                partial(index.set_digests, number=known.number, digests=digests)
            )
        return last

    def _digests(
        self, number: int, tree: Tree, entries: Sequence[ManifestEntry]
    ) -> tuple[str, list[tuple[ManifestEntry, Digest | None]]]:
        found: list[tuple[ManifestEntry, Digest | None]] = []
        give_way = time.monotonic() + _SECONDS
        for entry in entries:
            if (number, entry.path, entry.etag) not in self._unreadable:
                try:
                    digest = scan.digest_of_file(tree, entry, self._stopped.is_set)
                except OSError as error:
                    self._give_up(number, entry, error)
                else:
                    found += [(entry, digest)] if digest is not None else []
            if self._stopped.is_set() or time.monotonic() > give_way:
                return entry.path, found
        return entries[-1].path, found

    def _give_up(self, number: int, entry: ManifestEntry, error: OSError) -> None:
        """Skip that file until it changes."""
        log.warning("file unreadable", path=entry.path, why=error.strerror)
        if len(self._unreadable) < _MOST_REMEMBERED:
            self._unreadable.add((number, entry.path, entry.etag))
