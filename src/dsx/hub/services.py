"""The hub as one value: every use case a protocol may call."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from dsx.blobs.contract import BlobStore, Stages
from dsx.catalog.engine import Catalog
from dsx.hub.accounts import Accounts
from dsx.hub.audit import Audit
from dsx.hub.datasets import Datasets
from dsx.hub.departures import Departures
from dsx.hub.drop import Drop
from dsx.hub.files import Files
from dsx.hub.identity import Identity
from dsx.hub.oidc import Oidc
from dsx.hub.orphans import Orphans
from dsx.hub.quarantine import Quarantine
from dsx.hub.reserve import Reserve
from dsx.hub.scrub import Scrub
from dsx.hub.shares import Shares
from dsx.hub.throttle import Throttle
from dsx.hub.tokens import Tokens
from dsx.hub.transfers.chunks import Chunks
from dsx.hub.transfers.tasks import Tasks
from dsx.hub.transfers.uploads import Uploads
from dsx.hub.trash import Trash


@dataclass(frozen=True, slots=True)
class Hub:
    """What `dsx.app` composes and protocols use.

    ``fileserver_max``: bytes of one upload by the file server dialect (None: as any other).
    ``event_seconds``: how long a stream of events may last.
    """

    identity: Identity
    accounts: Accounts
    tokens: Tokens
    shares: Shares
    audit: Audit
    throttle: Throttle
    oidc: Oidc | None
    files: Files
    trash: Trash
    uploads: Uploads
    orphans: Orphans
    chunks: Chunks
    drop: Drop
    tasks: Tasks
    departures: Departures
    datasets: Datasets
    scrub: Scrub
    quarantine: Quarantine
    reserve: Reserve | None
    catalog: Catalog
    blobs: BlobStore
    fileserver_max: int | None
    event_seconds: float

    async def check(self) -> None:
        """Return if catalog and blobs answer; raise `Unavailable` (or what they raise) if not."""
        await self.catalog.check()
        await self.blobs.list(limit=1)

    async def is_full(self) -> bool:
        """Whether there is no room for uploads; what deletes still works."""
        if isinstance(self.blobs, Stages):
            room = await self.blobs.room()
            if room is not None and room <= 0:
                return True
        if self.reserve is None:
            return False
        free, files = await asyncio.to_thread(self.reserve.free)
        return free <= 0 or files == 0
