"""The right to write to a span of an upload: one holder at a time, and the newest one wins.

A new writer records itself in the catalog and asks the older writers in its way to yield. They
notice within `control.INTERVAL`, make durable what they have, and leave. One that does not leave in
time (its process is dead, stopped, or disconnected) is shut out: its records are refused from then
on, and it writes no byte without a check by its own process in the last `control.FENCE` seconds,
measured by monotonic clocks.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TypeVar

from sqlalchemy import Connection

from dsx.catalog import uploads, writers
from dsx.catalog.database import Catalog
from dsx.core.errors import Superseded
from dsx.core.ranges import ByteRange
from dsx.core.shield import run_to_completion
from dsx.hub.transfers.control import Control, Controls

T = TypeVar("T")

PATIENCE = 0.75
"""Seconds a newer writer waits for the older ones; more than `control.FENCE`."""
_STEP = 0.01
EVERYTHING = 1 << 62
"""The end of a span written in order to an undeclared end."""


class Leases:
    """Grants the right to write."""

    def __init__(self, catalog: Catalog, controls: Controls) -> None:
        self._catalog = catalog
        self._controls = controls

    @asynccontextmanager
    async def hold(
        self,
        upload: str,
        span: ByteRange,
        then: Callable[[Connection], T],
        admit: Callable[[Connection], None] | None = None,
    ) -> AsyncIterator[tuple[Control, T]]:
        """Hold the right to write to *span* of *upload* within the block, under this control.

        *admit*, in the transaction that would ask older writers to yield, may raise instead. *then*
        is a transaction that runs once nobody else writes there; its result comes with the control.
        Raises `Superseded` if an even newer writer arrives while this waits for older ones. Leaving
        the block ends the lease, unless it was ended with the last record.
        """
        token = uuid.uuid4().hex
        entered = partial(_enter, token, upload, span, then, admit=admit)
        try:
            older, found = await run_to_completion(self._catalog.write(entered, durable=False))
            if older:
                await self._wait_for(token, upload, older)
                found = await self._catalog.write(then, durable=False)
        except BaseException:
            await run_to_completion(self._leave(token))
            raise
        assert found is not None
        async with self._controls.transfer(upload, token) as control:
            try:
                yield control, found
            finally:
                if not control.released:
                    await run_to_completion(self._leave(token))

    async def drain_writers(self, upload: str) -> None:
        """Have the writers of *upload* record what they have and leave.

        Costs one query if there are none. Writers that begin meanwhile are ignored.
        """
        span = ByteRange(0, EVERYTHING)
        if await self._catalog.read(partial(writers.overlapping, upload=upload, span=span)):
            with suppress(Superseded):
                async with self.hold(upload, span, lambda _: True):
                    pass

    async def shut_all_out(self, upload: str) -> None:
        """End every lease of *upload*, in all processes: their bytes were lost with a failed sync.

        Within a process the stage does that, and across processes the kernel, by reporting the
        error to each descriptor once; this is for kernels and file systems that report it to only
        one.
        """

        def work(connection: Connection) -> None:
            uploads.lock_upload(connection, upload)
            everybody = writers.overlapping(connection, upload, ByteRange(0, EVERYTHING))
            writers.evict(connection, everybody)

        await self._catalog.write(work, durable=False)
        self._controls.poke()

    async def _wait_for(self, token: str, upload: str, older: list[str]) -> None:
        self._controls.poke()
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            asked = await self._catalog.read(partial(writers.asked, tokens=[token, *older]))
            if asked.pop(token, True):
                raise Superseded("A newer writer took over; query the upload's offset.")
            if not asked:
                return
            await asyncio.sleep(_STEP)
        await self._catalog.write(partial(_evict, upload, older))

    async def _leave(self, token: str) -> None:
        await self._catalog.write(partial(writers.leave, token=token), durable=False)


def _enter(
    token: str,
    upload: str,
    span: ByteRange,
    then: Callable[[Connection], T],
    connection: Connection,
    *,
    admit: Callable[[Connection], None] | None,
) -> tuple[list[str], T | None]:
    uploads.lock_upload(connection, upload)
    if admit is not None:
        admit(connection)
    older = writers.enter(connection, token, upload, span)
    return older, None if older else then(connection)


def _evict(upload: str, older: list[str], connection: Connection) -> None:
    uploads.lock_upload(connection, upload)
    if writers.evict(connection, older):
        uploads.shut_out(connection, upload)
