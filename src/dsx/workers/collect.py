"""Collects what is no longer wanted: whatever has expired, stages and blobs that a crash left."""

from __future__ import annotations

from dsx.hub.belonging import agreement, renew_in_time
from dsx.hub.removal import remove_due
from dsx.hub.services import Hub
from dsx.workers.clocks import Clocks
from dsx.workers.reconciler import Reconciler


class Collector(Reconciler):
    """Drops trash, uploads, tokens, shares, attempts and log entries whose time is over."""

    def __init__(self, hub: Hub, interval: float = 600) -> None:
        super().__init__(interval)
        self._hub = hub
        self._clocks = Clocks()

    async def step(self) -> None:
        """Sweep first: it frees room that a full disk may need for the catalog.

        Nothing expires by a clock that has jumped, until it has been the same for two rounds.
        """
        hub = self._hub
        await hub.uploads.endings.sweep()
        await remove_due(hub.catalog, hub.blobs)
        instant = self._clocks.agree(await hub.catalog.time())
        if instant is None:
            return
        keepers = (hub.trash, hub.tokens, hub.shares, hub.throttle, hub.audit, hub.quarantine)
        for keeper in (hub.uploads.endings, *keepers):
            await keeper.drop_expired(instant)
        await renew_in_time(hub.catalog, hub.blobs)
        if await agreement(hub.catalog, hub.blobs) != "older":
            await hub.orphans.find()
