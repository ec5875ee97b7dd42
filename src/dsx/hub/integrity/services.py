"""Integrity of stored bytes, as one value."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from dsx.blobs.contract import BlobStore, Stages
from dsx.catalog.database import Catalog
from dsx.core.model import Micros
from dsx.hub.integrity.belonging import agreement, renew_in_time
from dsx.hub.integrity.blob_gc import remove_due
from dsx.hub.integrity.orphans import Orphans
from dsx.hub.integrity.quarantine import Quarantine
from dsx.hub.integrity.reserve import Reserve
from dsx.hub.integrity.scrub import Scrub


@dataclass(frozen=True, slots=True)
class IntegrityServices:
    """Finds damage and orphans, removes unneeded blobs, reports free space."""

    catalog: Catalog
    blobs: BlobStore
    scrub: Scrub
    quarantine: Quarantine
    orphans: Orphans
    reserve: Reserve | None

    async def room(self) -> int | None:
        """Return the bytes left for uploads, negative if overcommitted; None: unknown."""
        return await self.blobs.room() if isinstance(self.blobs, Stages) else None

    async def is_full(self) -> bool:
        """Return whether there is no space for uploads; deleting still works."""
        room = await self.room()
        if room is not None and room <= 0:
            return True
        if self.reserve is None:
            return False
        free, files = await asyncio.to_thread(self.reserve.free)
        return free <= 0 or files == 0

    async def remove_due(self) -> None:
        """Remove blobs that nothing refers to any more."""
        await remove_due(self.catalog, self.blobs)

    async def drop_expired(self, instant: Micros) -> None:
        """Delete what was quarantined long before *instant*; search for orphans periodically."""
        await self.quarantine.drop_expired(instant)
        await renew_in_time(self.catalog, self.blobs)
        if await agreement(self.catalog, self.blobs) != "older":
            await self.orphans.find()
