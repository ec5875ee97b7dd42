"""Finds files in place whose bytes have changed although nobody has written to them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import structlog

from dsx.catalog import datasets as index
from dsx.catalog.database import Catalog
from dsx.core.digest import Digest, Hasher
from dsx.core.errors import Damaged, DSXError
from dsx.core.model import ManifestEntry
from dsx.hub.clock import now
from dsx.hub.datasets.beneath import Tree
from dsx.hub.datasets.indexing import Indexing
from dsx.hub.datasets.scan import Found, chunks
from dsx.hub.integrity.damage import RateLimiter
from dsx.hub.integrity.scrub import Item

log = structlog.get_logger(__name__)

_UNREADABLE = Digest("")


@dataclass(frozen=True, slots=True)
class _Key:
    known: index.Known
    entry: ManifestEntry


class Checking:
    """The datasets of one data directory, as a `dsx.hub.integrity.scrub.Kind`.

    A file is unchanged if size, times and inode are; only then must its bytes match its SHA-256. A
    modified file is not damaged: the index follows it.
    """

    name = "datasets"

    def __init__(self, catalog: Catalog, indexing: Indexing, place: str) -> None:
        self.row = f"d-{place.replace('-', '')[:14]}"
        self._catalog = catalog
        self._indexing = indexing

    async def totals(self) -> tuple[int, int]:
        """See `Kind`."""
        files = size = 0
        for known in await self._indexing.all_known():
            found = await self._catalog.read(partial(index.totals, number=known.number))
            files, size = files + found.hashed, size + found.hashed_size
        return files, size

    async def page(self, after: str, limit: int) -> Sequence[Item]:
        """See `Kind`."""
        number, _, path = after.partition("/")
        last = int(number or -1)
        for known in sorted(await self._indexing.all_known(), key=lambda one: one.number):
            if known.number < last:
                continue
            begin = path if known.number == last else ""
            entries = await self._catalog.read(
                partial(index.to_check, number=known.number, after=begin, limit=limit)
            )
            if entries:
                return [
                    Item(f"{known.number}/{entry.path}", entry.size, _Key(known, entry))
                    for entry in entries
                ]
        return []

    async def check(self, item: Item, pace: RateLimiter) -> bool:
        """See `Kind`."""
        assert isinstance(item.key, _Key)
        known, entry = item.key.known, item.key.entry
        try:
            tree = await self._indexing.tree(known.name)
            for _ in ("once", "again"):  # memory and controllers also fail
                if await _digest(tree, entry, pace) in {None, entry.sha256}:
                    return True
        except DSXError:  # deleted, or not available at the moment: not damaged
            return True
        mark = partial(index.mark, number=known.number, entry=entry, now=now())
        if not await self._catalog.write(mark):
            return True
        log.error("a file of a dataset is damaged", dataset=known.name, path=entry.path)
        return False


def damaged(dataset: str, paths: Sequence[str]) -> Damaged:
    """Return the failure of a request for damaged files."""
    return Damaged(
        f"The content of {paths[0]!r} in dataset {dataset!r} is damaged and is not "
        "served. Restore the original file.",
        {"damaged": list(paths[:1000]), "count": len(paths)},
    )


async def _digest(tree: Tree, entry: ManifestEntry, pace: RateLimiter) -> Digest | None:
    """Return the SHA-256 of a file; None if it no longer matches *entry*."""
    descriptor = await asyncio.to_thread(tree.open, entry.path)
    try:
        hasher, there = Hasher(), chunks(descriptor, entry.size)
        while chunk := await asyncio.to_thread(next, there, b""):
            await asyncio.to_thread(hasher.update, chunk)
            await pace(len(chunk))
        found = Found.of(entry.path, os.fstat(descriptor))
    except OSError:
        return _UNREADABLE
    else:
        return hasher.digest if found.etag == entry.etag else None
    finally:
        await asyncio.to_thread(os.close, descriptor)
