"""Checks stored bytes continuously."""

from __future__ import annotations

from dsx.hub.integrity.scrub import Scrub
from dsx.workers.reconciler import Reconciler


class Scrubber(Reconciler):
    """Continues due scrub cycles; checks every two seconds for one."""

    def __init__(self, scrub: Scrub, interval: float = 2) -> None:
        super().__init__(interval)
        self._scrub = scrub

    async def step(self) -> None:
        """Run due cycles to their end."""
        await self._scrub.run()
