"""Removes expired items, and staged files and blobs left by a crash."""

from __future__ import annotations

from dsx.hub.hub import Hub
from dsx.workers.clocks import Clocks
from dsx.workers.reconciler import Reconciler


class Collector(Reconciler):
    """Drops expired trash, uploads, tokens, shares, attempts and log entries."""

    def __init__(self, hub: Hub, interval: float = 600) -> None:
        super().__init__(interval)
        self._hub = hub
        self._clocks = Clocks()

    async def step(self) -> None:
        """Sweep, which frees space that the catalog may need on a full disk, then expire.

        After the clock has jumped, nothing expires until it has been steady for two rounds.
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
