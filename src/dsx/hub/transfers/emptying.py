"""Empties the trash: long work that continues in the background, as a task.

It runs in small transactions, in the process of the first request; later requests, here or
elsewhere, wait for it. If that process dies, the next request continues the work.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from functools import partial

import structlog
from sqlalchemy import Connection

from dsx.catalog import files, trash
from dsx.catalog import tasks as records
from dsx.catalog.database import Catalog
from dsx.core.errors import DSXError, Gone, Paused
from dsx.core.model import Micros
from dsx.core.principals import Principal
from dsx.core.transfers import Task
from dsx.hub.accounts import access
from dsx.hub.clock import SECOND, now
from dsx.hub.files.trash import Trash
from dsx.hub.transfers.control import Controls
from dsx.hub.transfers.creation import NEVER

log = structlog.get_logger(__name__)

_ALIVE = 15 * SECOND
"""A worker without progress for this long is dead, or its clock differs."""
_STEP = 0.1


class Emptying:
    """Empties the trashes of all principals, each its own."""

    def __init__(self, catalog: Catalog, controls: Controls, trash: Trash, ttl: Micros) -> None:
        """*ttl*: how long an ended task is remembered."""
        self._catalog = catalog
        self._controls = controls
        self._trash = trash
        self._ttl = ttl
        self._running: dict[str, asyncio.Task[None]] = {}

    async def empty(self, principal: Principal, patience: float) -> Task:
        """Permanently delete what *principal* has in the trash now; returns the task, ended or not.

        Waits up to *patience* seconds for its end. Raises `Paused` and `Gone` if somebody paused or
        aborted it.
        """
        access.require(principal, "delete")
        task, begun = await self._catalog.write(partial(self._begin, principal))
        if begun and task.id not in self._running:
            carrying = asyncio.create_task(self._carry_out(principal, task), name="emptying")
            self._running[task.id] = carrying
            carrying.add_done_callback(lambda _: self._running.pop(task.id))
        deadline = time.monotonic() + patience
        while True:
            read = partial(records.get, owner=principal.id, id_=task.id)
            task = await self._catalog.read(read)
            if task.state in {"aborted", "expired"}:
                raise Gone(f"The task was {task.state}.", {"id": task.id})
            if task.state == "paused":
                raise Paused("Emptying the trash is paused; resume its task.", {"id": task.id})
            if task.state == "completed" or time.monotonic() > deadline:
                return task
            await asyncio.sleep(_STEP)

    async def aclose(self) -> None:
        """Leave running work as it is: the next request continues it."""
        running = list(self._running.values())
        for carrying in running:
            carrying.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _begin(self, principal: Principal, connection: Connection) -> tuple[Task, bool]:
        """Return the task that empties *principal*'s trash, and whether it needs a worker."""
        files.lock_owner(connection, principal.id)
        via = "" if principal.places is None else principal.via
        instant = now()
        for task in records.of_kind(connection, principal.id, "empty"):
            if task.subject.get("via") == via:
                dead = abs(instant - task.updated) > _ALIVE and task.state != "paused"
                if dead:
                    records.change(connection, task.id, instant, state="running")
                return task, dead
        total = trash.count(connection, principal.id, instant, principal.places)
        task = Task(
            id=str(uuid.uuid4()),
            owner=principal.id,
            kind="empty",
            state="running",
            name="trash",
            done=0,
            total=total,
            message=None,
            created=instant,
            updated=instant,
            expires=NEVER,
            subject={"via": via},
        )
        records.add(connection, task)
        return task, True

    async def _carry_out(self, principal: Principal, task: Task) -> None:
        """Empty the trash; failures, except a pause or abort, are retried by the next request."""
        done = task.done
        try:
            async with self._controls.transfer(task.id, grace=None) as control:
                while True:
                    await control.proceed()
                    control.check()
                    count = await self._trash.drop_some(principal, before=task.created)
                    done += count
                    if not count:
                        break
                    await self._note(task.id, done)
            await self._end(task.id, done)
        except DSXError as error:
            log.info(
                "emptying the trash stopped", task=task.id, why=error.code, error=error.message
            )

    async def _end(self, id_: str, done: int) -> None:
        def work(connection: Connection) -> None:
            instant = now()
            ended = {"state": "completed", "done": done, "total": done}
            records.end(connection, id_, instant, instant + self._ttl, **ended)

        await self._catalog.write(work)

    async def _note(self, id_: str, done: int) -> None:
        await self._catalog.write(
            lambda connection: records.change(connection, id_, now(), done=done), durable=False
        )
