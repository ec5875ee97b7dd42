"""Finds blobs without a record, which a crash between sealing and commit leaves."""

from __future__ import annotations

import time
from functools import partial

import structlog
from sqlalchemy import Connection

from dsx.blobs.contract import BlobStore
from dsx.catalog import blobs as records
from dsx.catalog import tombstones
from dsx.catalog.database import Catalog
from dsx.core.digest import Digest
from dsx.hub.clock import SECOND, now

log = structlog.get_logger(__name__)

_PAGE = 1000
_EVERY = 6 * 3600.0
_MOST = 10_000
_FEW = 20
_SHARE = 0.05


class Orphans:
    """Searches the store periodically, and has orphans removed after a grace period.

    The grace is for operators, not for uploads: these seal and record a blob under one lock, so a
    removal under that lock sees both or neither. But a catalog restored from a backup lacks what
    was stored since. So the removal waits, and if more than a few of all blobs are orphans, they
    are only reported.
    """

    def __init__(self, catalog: Catalog, blobs: BlobStore, *, grace: float) -> None:
        """*grace*: seconds between finding a blob and removing it."""
        self._catalog = catalog
        self._blobs = blobs
        self._grace = int(grace * SECOND)
        self._pause = min(_EVERY, grace)
        self._next = 0.0

    async def find(self) -> int:
        """Mark orphans for removal if a search is due; returns how many there are."""
        if time.monotonic() < self._next:
            return 0
        self._next = time.monotonic() + self._pause
        orphans, count, total = await self._look()
        if count > max(_FEW, total * _SHARE):
            log.warning(
                "too many blobs without a record, none removed: is the catalog an old one? "
                "run `dsx fsck`",
                orphans=count,
                blobs=total,
            )
        elif orphans:
            await self._catalog.write(partial(_mark, orphans, now() + self._grace))
            log.info("blobs without a record will be removed", blobs=len(orphans))
        return count

    async def _look(self) -> tuple[list[Digest], int, int]:
        """Return the first `_MOST` orphans, their number, and the number of blobs."""
        orphans: list[Digest] = []
        count = total = 0
        after: Digest | None = None
        while page := await self._blobs.list(after, _PAGE):
            after, total = page[-1], total + len(page)
            unknown = await self._catalog.read(partial(records.unknown, digests=page))
            count += len(unknown)
            orphans += unknown[: _MOST - len(orphans)]
        return orphans, count, total


def _mark(orphans: list[Digest], due: int, connection: Connection) -> None:
    for start in range(0, len(orphans), _PAGE):
        page = orphans[start : start + _PAGE]
        tombstones.add(connection, records.unknown(connection, page), due)
