"""The quarantine: blobs without a record, and damaged ones, kept for a limited time.

A blob without a record may be left by a crash, or the only copy of a file whose record was lost
with the catalog. So ``dsx fsck`` deletes none: it quarantines them, few or many.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from functools import partial

import structlog
from sqlalchemy import Connection

from dsx.blobs.contract import BlobStore, Quarantined
from dsx.catalog import blobs as records
from dsx.catalog.database import Catalog
from dsx.core.digest import Digest
from dsx.core.model import Micros
from dsx.core.shield import run_to_completion
from dsx.hub.clock import DAY, now
from dsx.hub.integrity.blob_gc import withheld

log = structlog.get_logger(__name__)

_PAGE = 1000


class Quarantine:
    """Quarantines blobs, restores those with a record, deletes the rest in time."""

    def __init__(self, catalog: Catalog, blobs: BlobStore, *, days: float) -> None:
        """Keep blobs in quarantine for *days* days."""
        self._catalog = catalog
        self._blobs = blobs
        self._keep = int(days * DAY)

    async def set_aside(self, digests: Iterable[Digest]) -> int:
        """Quarantine those of *digests* without a record, each under its lock; returns how many."""
        moved = 0
        for digest in digests:
            moved += await run_to_completion(self._set_aside(digest))
        if moved:
            log.warning("blobs without a record quarantined", blobs=moved)
        return moved

    async def reclaim(self) -> int:
        """Restore blobs that have a record and are stored nowhere else; returns how many."""
        back = 0
        async for page in self._pages():
            digests = [one.digest for one in page]
            unknown = set(await self._catalog.read(partial(records.unknown, digests=digests)))
            stored = await self._blobs.stat(digests)
            for digest in digests:
                if digest in unknown or digest in stored:
                    continue
                if await self._catalog.read(partial(records.get, digest=digest)) is not None:
                    await self._blobs.release([digest])
                    back += 1
        return back

    async def drop_expired(self, instant: Micros) -> int:
        """Delete blobs quarantined long before *instant*, except damaged ones not yet repaired.

        Repaired ones are deleted immediately: nobody needs the damaged copy, and it takes space.
        """
        dropped = 0
        async for page in self._pages():
            digests = [one.digest for one in page]
            hurt = await self._catalog.read(partial(records.damaged_of, digests=digests))
            whole = await self._stored(digest for digest in digests if digest not in hurt)
            old = {one.digest for one in page if one.since + self._keep < instant}
            gone = sorted(whole | (old - hurt))
            await self._blobs.expunge(gone)
            dropped += len(gone)
        return dropped

    async def count(self) -> int:
        """Return how many blobs are in quarantine."""
        return sum([len(page) async for page in self._pages()])

    async def _stored(self, digests: Iterable[Digest]) -> set[Digest]:
        """Return those of *digests* that have a record and are also stored outside quarantine."""
        wanted = list(digests)
        unknown = set(await self._catalog.read(partial(records.unknown, digests=wanted)))
        stored = await self._blobs.stat([one for one in wanted if one not in unknown])
        return set(stored)

    async def _set_aside(self, digest: Digest) -> bool:
        nobodys = partial(_has_no_record, digest)
        async with withheld(self._catalog, digest, nobodys, now() + self._keep) as unwanted:
            if unwanted:
                await self._blobs.quarantine([digest])
        return unwanted

    async def _pages(self) -> AsyncIterator[Sequence[Quarantined]]:
        after: Digest | None = None
        while page := await self._blobs.quarantined(after, _PAGE):
            after = page[-1].digest
            yield page


def _has_no_record(digest: Digest, connection: Connection) -> bool:
    return bool(records.unknown(connection, [digest]))
