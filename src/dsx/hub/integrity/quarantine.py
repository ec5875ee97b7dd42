"""What was set aside: blobs without a record, and damaged ones, until their time is over.

A blob that no record names may be what a crash left, or the only copy of a file whose record was
lost with the catalog. So ``dsx fsck`` deletes none: it sets them aside, many or few.
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
    """Sets blobs aside, brings back those that are wanted after all, drops the rest in time."""

    def __init__(self, catalog: Catalog, blobs: BlobStore, *, days: float) -> None:
        """Keep what is set aside for *days* days."""
        self._catalog = catalog
        self._blobs = blobs
        self._keep = int(days * DAY)

    async def set_aside(self, digests: Iterable[Digest]) -> int:
        """Set those of *digests* aside that have no record, each under its claim; how many."""
        moved = 0
        for digest in digests:
            moved += await run_to_completion(self._set_aside(digest))
        if moved:
            log.warning("blobs without a record quarantined", blobs=moved)
        return moved

    async def reclaim(self) -> int:
        """Bring back blobs that have a record and are stored nowhere else; how many."""
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
        """Drop what was set aside long before *instant*, but for damaged blobs that are not healed.

        At once what is stored rightly again: nobody needs the damaged copy, and it takes room.
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
        """How many blobs are set aside."""
        return sum([len(page) async for page in self._pages()])

    async def _stored(self, digests: Iterable[Digest]) -> set[Digest]:
        """Those of *digests* that have a record and are stored, beside what was set aside."""
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
