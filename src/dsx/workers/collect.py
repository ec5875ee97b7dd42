"""Collects what is no longer wanted: whatever has expired, stages and blobs that a crash left."""

from __future__ import annotations

from dsx.hub.hub import Hub
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
        await hub.transfers.uploads.expiry.sweep()
        await hub.integrity.remove_due()
        instant = self._clocks.agree(await hub.catalog.time())
        if instant is None:
            return
        accounts = hub.accounts
        for keeper in (
            hub.transfers.uploads.expiry,
            hub.trash,
            accounts.tokens,
            accounts.shares,
            accounts.sign_in_limits,
            accounts.audit,
            hub.integrity,
        ):
            await keeper.drop_expired(instant)
