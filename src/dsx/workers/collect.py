"""Collects what is no longer wanted: expired trash and uploads, and stages that a crash left."""

from __future__ import annotations

from dsx.hub.transfers.uploads import Uploads
from dsx.hub.trash import Trash
from dsx.workers.reconciler import Reconciler


class Collector(Reconciler):
    """Drops what the trash has kept long enough, uploads whose time is over, dead stages."""

    def __init__(self, trash: Trash, uploads: Uploads, interval: float = 600) -> None:
        super().__init__(interval)
        self._trash = trash
        self._uploads = uploads

    async def step(self) -> None:
        """Sweep first: it frees room that a full disk may need for the catalog."""
        await self._uploads.sweep()
        await self._uploads.drop_expired()
        await self._trash.drop_expired()
