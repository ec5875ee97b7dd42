"""Transfers that run in this process, which any process may pause or stop.

The catalog holds the requested state: that of the task, and whether a newer writer asks to yield.
While transfers run, one loop per process compares it five times a second. Nothing is polled while
nothing runs.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import structlog
from sqlalchemy import Connection

from dsx.catalog import tasks, uploads, writers
from dsx.catalog.database import Catalog
from dsx.core.errors import DSXError, Gone, Paused, Superseded, Unavailable
from dsx.core.model import Micros
from dsx.core.shield import ended
from dsx.hub.clock import now

log = structlog.get_logger(__name__)
T = TypeVar("T")

INTERVAL = 0.2
"""Seconds between two checks: a pause, an abort or a newer writer takes effect within that."""
FENCE = 0.6
"""Seconds for which a check is valid: transfers not checked since may not write."""
_LAST_WORDS = 1.0


class Control:
    """One running transfer. ``proceed`` and ``run`` obey; ``lost``: it was shut out.

    ``released``: its lease was ended together with its last record.
    """

    def __init__(self, task: str, token: str | None, grace: float | None) -> None:
        self.task = task
        self.token = token
        self.lost = False
        self.released = False
        self.begun = self.looked = time.monotonic()
        self._grace = grace
        self._go = asyncio.Event()
        self._go.set()
        self._stopped: asyncio.Future[DSXError] = asyncio.get_running_loop().create_future()
        self._deadline: asyncio.TimerHandle | None = None

    @property
    def paused(self) -> bool:
        """Whether the transfer has to wait now."""
        return not self._go.is_set()

    async def proceed(self) -> None:
        """Return once the transfer may continue: immediately, unless it is paused."""
        await self._go.wait()

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Await *work*; if the transfer is stopped, cancel it and raise the reason."""
        running = asyncio.ensure_future(work)
        try:
            first: list[asyncio.Future[Any]] = [running, self._stopped]
            await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not running.done():
                await ended(running)
        if self._stopped.done() and running.cancelled():
            raise self._stopped.result()
        return running.result()

    def check(self) -> None:
        """Raise the reason if the transfer was stopped."""
        if self._stopped.done():
            raise self._stopped.result()

    def stop(self, reason: DSXError) -> None:
        """Stop the transfer with *reason*. Idempotent: the first reason stays."""
        if not self._stopped.done():
            self._stopped.set_result(reason)
            self._go.set()

    def pause(self) -> None:
        """Pause; after the grace, if any, the request ends: proxies cut idle connections."""
        if self._go.is_set() and not self._stopped.done():
            self._go.clear()
            if self._grace is None:
                return
            reason = Paused(
                "The transfer is paused; resume its task, then continue from the upload's offset.",
                {"id": self.task},
            )
            loop = asyncio.get_running_loop()
            self._deadline = loop.call_later(self._grace, self.stop, reason)

    def resume(self) -> None:
        """Resume the transfer if it was paused."""
        self.cancel_deadline()
        self._go.set()

    def cancel_deadline(self) -> None:
        """Cancel the end of a pause."""
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class Controls:
    """The running transfers of this process."""

    def __init__(self, catalog: Catalog, *, grace: float, upload_expiry: float) -> None:
        """*grace*: seconds a paused request is kept open; *upload_expiry*: see `Uploads`."""
        self._catalog = catalog
        self._grace = grace
        self._expiry = int(upload_expiry * 1_000_000)
        self._running: set[Control] = set()
        self._loop_task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._touched: dict[str, Micros] = {}
        self.watch: Callable[[Mapping[str, tasks.Standing]], None] | None = None
        """Called at each check with the state of the running transfers' tasks."""

    @asynccontextmanager
    async def transfer(
        self, task: str, token: str | None = None, *, grace: float | None = -1
    ) -> AsyncIterator[Control]:
        """Provide control of a transfer within the block: of *task*, by the writer *token*.

        None as *grace*: no request is kept open for it, so it may be paused for any time.
        """
        control = Control(task, token, None if grace is None else self._grace)
        self._running.add(control)
        self._idle.clear()
        if self._loop_task is None:
            self._loop_task = asyncio.create_task(self._look_on(), name="controls")
        try:
            yield control
        finally:
            control.cancel_deadline()
            self._running.discard(control)
            if not self._running:
                self._idle.set()

    def poke(self) -> None:
        """Check now: this process has changed something that affects its own transfers."""
        self._wake.set()

    async def look(self) -> None:
        """Apply the requested state to the running transfers."""
        running = list(self._running)
        if not running:
            return
        at = time.monotonic()
        names = sorted({control.task for control in running})
        tokens = [control.token for control in running if control.token]

        def work(
            connection: Connection,
        ) -> tuple[dict[str, tasks.Standing], dict[str, bool]]:
            return tasks.states(connection, names), writers.asked(connection, tokens)

        states, asked = await self._catalog.read(work)
        for control in running:
            _obey(control, states.get(control.task), asked)
            control.looked = at
        if self.watch is not None:
            self.watch(states)
        await self._keep_alive(running)

    async def aclose(self) -> None:
        """Stop the running transfers, which record what they have, and stop checking."""
        for control in self._running:
            control.stop(
                Unavailable(
                    "The server is shutting down; the bytes received are kept, resume later."
                )
            )
        await _within(_LAST_WORDS, self._idle.wait())
        if self._loop_task is not None:
            self._loop_task.cancel()
            await asyncio.gather(self._loop_task, return_exceptions=True)

    async def _look_on(self) -> None:
        while self._running:
            self._wake.clear()  # before the check: changes meanwhile trigger the next one
            try:
                await self.look()
            except DSXError as error:
                log.warning("cannot read the state of transfers", error=error.message)
            await _within(INTERVAL, self._wake.wait())
        self._loop_task = None

    async def _keep_alive(self, running: list[Control]) -> None:
        """Extend the expiry of running transfers; very short ones do not need it."""
        instant, young = now(), time.monotonic() - INTERVAL
        names = {one.task for one in running if one.token is not None and one.begun < young}
        self._touched = {
            name: at
            for name, at in self._touched.items()
            if name in names and 0 <= instant - at < self._expiry // 4
        }
        if due := sorted(names - self._touched.keys()):
            await self._catalog.write(
                lambda connection: uploads.touch(connection, due, instant + self._expiry),
                durable=False,
            )
            self._touched.update(dict.fromkeys(due, instant))


def _obey(control: Control, task: tasks.Standing | None, asked: dict[str, bool]) -> None:
    control.lost = control.token is not None and control.token not in asked
    if task is not None and task.state == "aborted":
        control.stop(Gone("The transfer was aborted.", {"id": control.task}))
    elif task is None or task.state == "expired" or task.expires <= now():
        control.stop(Gone("The transfer has expired.", {"id": control.task}))
    elif control.lost or asked.get(control.token or ""):
        control.stop(Superseded("A newer writer took over; query the upload's offset."))
    elif task.state == "paused":
        control.pause()
    else:
        control.resume()


def stale(control: Control) -> bool:
    """Return whether the last check of *control* is too old to write."""
    return time.monotonic() - control.looked > FENCE


def unseen() -> Unavailable:
    """Return the failure of a writer that cannot check whether it still may write."""
    return Unavailable("The catalog is not responding; the bytes received are kept, resume later.")


async def _within(seconds: float, event: Awaitable[object]) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event
    except TimeoutError:
        pass
