"""Collects what is no longer wanted: expired trash, and stages that a crash left behind."""

from __future__ import annotations

from dsx.blobs.contract import BlobStore, Stages
from dsx.hub.trash import Trash
from dsx.workers.reconciler import Reconciler


class Collector(Reconciler):
    """Every ten minutes: drops what the trash has kept long enough, sweeps dead stages."""

    def __init__(self, trash: Trash, blobs: BlobStore, interval: float = 600) -> None:
        super().__init__(interval)
        self._trash = trash
        self._blobs = blobs

    async def step(self) -> None:
        """Sweep first: it frees room that a full disk may need for the catalog."""
        if isinstance(self._blobs, Stages):
            await self._blobs.sweep()
        await self._trash.drop_expired()
