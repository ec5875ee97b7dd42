"""Checks what is stored, slowly and for ever."""

from __future__ import annotations

from dsx.hub.integrity.scrub import Scrub
from dsx.workers.reconciler import Reconciler


class Scrubber(Reconciler):
    """Goes on with the cycles that are due; looks every two seconds whether one is."""

    def __init__(self, scrub: Scrub, interval: float = 2) -> None:
        super().__init__(interval)
        self._scrub = scrub

    async def step(self) -> None:
        """Run what is due to its end."""
        await self._scrub.run()
