"""The loop every reconciler runs in."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

import structlog

log = structlog.get_logger(__name__)


class Reconciler(ABC):
    """Runs `step` immediately and then every *interval* seconds, until its context exits.

    A step compares the desired with the actual state and repairs the difference, so a failed or
    missed one costs only time: it is logged and retried at the next interval.
    """

    def __init__(self, interval: float) -> None:
        self.interval = interval
        self._task: asyncio.Task[None] | None = None

    @abstractmethod
    async def step(self) -> None:
        """Repair once. May be cancelled at any await."""

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name=type(self).__name__)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            try:
                await self.step()
            except Exception as error:
                log.exception("reconciler failed", reconciler=type(self).__name__, error=str(error))
            else:
                log.debug("reconciled", reconciler=type(self).__name__)
            await asyncio.sleep(self.interval)
