"""Takes the room back that was given up when the disk was full."""

from __future__ import annotations

import asyncio

from dsx.hub.integrity.reserve import Reserve
from dsx.workers.reconciler import Reconciler


class ReserveKeeper(Reconciler):
    """Looks every few seconds whether the reserve is whole."""

    def __init__(self, reserve: Reserve | None, interval: float = 5) -> None:
        super().__init__(interval)
        self._reserve = reserve

    async def step(self) -> None:
        """Take what is missing, if there is room."""
        if self._reserve is not None:
            await asyncio.to_thread(self._reserve.take)
