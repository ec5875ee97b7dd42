"""Ends transfers that exceed the time limit, whichever process runs them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

import structlog

from dsx.catalog import tasks
from dsx.catalog.database import Catalog
from dsx.core.errors import DSXError
from dsx.core.model import Micros
from dsx.hub.clock import SECOND, now

log = structlog.get_logger(__name__)


class TimeLimit:
    """Watches the transfers of this process; see `Controls.watch`.

    The time counts from when a transfer was first seen to run, over all its requests and servers:
    neither pausing nor reconnecting extends it.
    """

    def __init__(
        self, catalog: Catalog, seconds: float, end: Callable[[str, str], Awaitable[None]]
    ) -> None:
        """*end* is called with the id of a task that exceeds *seconds*, and the reason."""
        self._catalog = catalog
        self._allowed: Micros = int(seconds * SECOND)
        self._why = f"The transfer exceeded the time limit of {seconds:g} seconds."
        self._end = end
        self._acting: asyncio.Task[None] | None = None

    def watch(self, standing: Mapping[str, tasks.Standing]) -> None:
        """Find new and late transfers and handle them without delaying others."""
        instant = now()
        new: list[str] = []
        late: list[str] = []
        for id_, task in standing.items():
            if task.begun is None:
                new.append(id_)
            elif task.begun + self._allowed <= instant and task.state in tasks.LIVING:
                late.append(id_)
        if (new or late) and (self._acting is None or self._acting.done()):
            self._acting = asyncio.create_task(self._act(new, late), name="overtime")

    async def _act(self, new: Sequence[str], late: Sequence[str]) -> None:
        """Record new and end late transfers; failures are retried at the next check."""
        try:
            if new:
                await self._catalog.write(lambda connection: tasks.begin(connection, new, now()))
            for id_ in late:
                await self._end(id_, self._why)
        except DSXError as error:
            log.warning("cannot end transfers over the time limit", error=error.message)
