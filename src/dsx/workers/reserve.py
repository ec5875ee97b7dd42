"""Restores the disk reserve after a full disk."""

from __future__ import annotations

import asyncio

from dsx.hub.integrity.reserve import Reserve
from dsx.workers.reconciler import Reconciler


class ReserveKeeper(Reconciler):
    """Checks every few seconds that the reserve is complete."""

    def __init__(self, reserve: Reserve | None, interval: float = 5) -> None:
        super().__init__(interval)
        self._reserve = reserve

    async def step(self) -> None:
        """Refill the reserve, if there is space."""
        if self._reserve is not None:
            await asyncio.to_thread(self._reserve.take)
