"""Limits one principal's concurrent requests, so that they do not delay everybody else's."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Turns:
    """Lets each principal have a limited number of turns at a time; the others queue."""

    def __init__(self, most: int) -> None:
        """At most *most* each; requests without a principal are not limited."""
        self._most = most
        self._here: Counter[str] = Counter()
        self._queues: dict[str, asyncio.Semaphore] = {}

    @asynccontextmanager
    async def of(self, whose: str) -> AsyncIterator[None]:
        """Hold a turn for the length of the block."""
        if not whose:
            yield
            return
        queue = self._queues.setdefault(whose, asyncio.Semaphore(self._most))
        self._here[whose] += 1
        try:
            async with queue:
                yield
        finally:
            self._here[whose] -= 1
            if not self._here[whose]:
                del self._here[whose], self._queues[whose]
