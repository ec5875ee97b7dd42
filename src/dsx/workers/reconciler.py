"""The loop every reconciler runs in."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

import structlog

log = structlog.get_logger(__name__)


class Reconciler(ABC):
    """Runs `step` at once and then every *interval* seconds, until it is left.

    A step compares what is wanted with what is found and mends the difference, so a failed or
    missed one costs nothing but time: it is logged and tried again at the next turn.
    """

    def __init__(self, interval: float) -> None:
        self.interval = interval
        self._task: asyncio.Task[None] | None = None

    @abstractmethod
    async def step(self) -> None:
        """Mend once. May be cancelled at any await."""

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
