"""Tasks: any server can read and change what a transfer is to do, whoever carries its bytes."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from sqlalchemy import Connection

from dsx.catalog import tasks as records
from dsx.catalog.engine import Catalog
from dsx.core.content import Content, FileSlice, Piece
from dsx.core.errors import Conflict, Gone, Invalid, NotFound, Paused
from dsx.core.model import FileQuery, FileVersion, Micros
from dsx.core.principals import Principal, Scope
from dsx.core.shielded import whatever_happens
from dsx.core.transfers import Task, TaskKind, TaskState
from dsx.hub import access
from dsx.hub.archive import archive
from dsx.hub.clock import SECOND, now
from dsx.hub.files import Files
from dsx.hub.transfers.control import Control, Controls
from dsx.hub.transfers.uploads import Uploads
from dsx.hub.trash import Trash

SMALLEST_SLICE = 128 * 1024
LARGEST_SLICE = 8 * 1024 * 1024
_SLICE_SECONDS = 0.1
_PROGRESS_SECONDS = 0.5
_SCOPE: dict[TaskKind | None, Scope] = {
    None: "read",
    "upload": "write",
    "download": "read",
    "delete": "delete",
}
"""What it takes to make or control a task of each kind; one of no kind does nothing yet."""
_SETTLED: Micros = 2 * SECOND  # a transaction that began earlier than this has ended


class Tasks:
    """The tasks of all principals; each call sees only those of the one who asks."""

    def __init__(
        self,
        catalog: Catalog,
        controls: Controls,
        files: Files,
        trash: Trash,
        uploads: Uploads,
        *,
        ttl: float,
    ) -> None:
        """A task that is made by itself ends after *ttl* seconds, whatever it is doing."""
        self._catalog = catalog
        self._controls = controls
        self._files = files
        self._trash = trash
        self._uploads = uploads
        self._ttl = int(ttl * SECOND)

    async def create(
        self,
        principal: Principal,
        kind: TaskKind | None = None,
        *,
        name: str = "",
        query: FileQuery | None = None,
        refs: Sequence[str] = (),
    ) -> Task:
        """A pending task, with an id that cannot be guessed.

        Of a download or a delete, *refs* or *query* say now which files it is about; those that
        come later are not. `NotFound` if one of *refs* is unknown.
        """
        access.require(principal, _SCOPE[kind])
        subject: dict[str, Any] = {}
        if kind in {"download", "delete"}:
            found = await self._select(principal, query, refs)
            subject["files"] = [version.number for version in found]
        instant = now()
        task = Task(
            id=str(uuid.uuid4()),
            owner=principal.id,
            kind=kind,
            state="pending",
            name=name or f"{len(subject.get('files', []))} files" if kind else name,
            done=0,
            total=None,
            message=None,
            created=instant,
            updated=instant,
            expires=instant + self._ttl,
            subject=subject,
        )
        await self._catalog.write(lambda connection: records.add(connection, task))
        return task

    async def get(self, principal: Principal, id_: str) -> Task:
        """The task, or `NotFound`."""
        access.require(principal, "read")

        def work(connection: Connection) -> Task:
            return _own(connection, principal, id_)

        return await self._catalog.read(work)

    async def list(
        self, principal: Principal, *, before: str | None = None, limit: int
    ) -> Sequence[Task]:
        """The principal's tasks, those with the greatest ids first."""
        access.require(principal, "read")

        def work(connection: Connection) -> Sequence[Task]:
            found = records.page(connection, principal.id, before, limit)
            return [task for task in found if access.task(connection, principal, task)]

        return [_as_of(task, now()) for task in await self._catalog.read(work)]

    async def changed(self, principal: Principal, since: Micros) -> Sequence[Task]:
        """Tasks that changed at *since* or later, oldest change first.

        A change may become visible a little after its time; who follows asks from two seconds
        before the last one seen, and ignores what it knows.
        """
        access.require(principal, "read")

        def work(connection: Connection) -> Sequence[Task]:
            found = records.changed(connection, principal.id, since - _SETTLED)
            return [task for task in found if access.task(connection, principal, task)]

        return await self._catalog.read(work)

    async def pause(self, principal: Principal, id_: str) -> Task:
        """Have the transfer wait. Idempotent; `Conflict` if it has ended."""
        return await self._change(principal, id_, ("pending", "running"), "paused")

    async def resume(self, principal: Principal, id_: str) -> Task:
        """Let the transfer go on. Idempotent; `Conflict` if it has ended."""
        return await self._change(principal, id_, ("paused",), "running")

    async def abort(self, principal: Principal, id_: str) -> Task:
        """End the transfer and drop what it had. Idempotent; `Conflict` if it is completed."""
        task = await self.get(principal, id_)
        access.require(principal, _SCOPE[task.kind])
        if task.state in {"aborted", "expired"}:
            return task
        if task.state == "completed":
            raise _over(task)
        if task.kind == "upload":
            await self._uploads.abort(principal, id_)
        else:
            await self._catalog.write(
                lambda connection: records.end(
                    connection, id_, now(), now() + self._ttl, state="aborted"
                )
            )
            self._controls.poke()
        return await self.get(principal, id_)

    async def content(self, principal: Principal, id_: str) -> Content:
        """What a download task sends: a ZIP of its files, the same until the task ends."""
        task = await self._of_kind(principal, id_, "download")
        refs = [str(number) for number in task.subject["files"]]
        return await archive(await self._files.get_many(principal, refs), self._files.blobs)

    @asynccontextmanager
    async def transfer(self, principal: Principal, id_: str) -> AsyncIterator[Transfer]:
        """Carry out, within the block, what the task is about; others may pause or abort it.

        Raises `Paused` or `Gone` if it may not run now.
        """
        task = await self.get(principal, id_)
        if task.state == "paused":
            raise Paused("The task is paused; resume it first.", {"id": id_})
        if task.state in {"aborted", "expired"}:
            raise Gone(f"The task was {task.state}.", {"id": id_})
        await self._note(id_, state="running")
        async with self._controls.transfer(id_) as control:
            transfer = Transfer(control, partial(self._note, id_))
            try:
                yield transfer
            finally:
                ended = {"state": "completed"} if transfer.completed else {}
                await whatever_happens(self._note(id_, done=transfer.done, **ended))

    async def delete(self, principal: Principal, id_: str) -> Task:
        """Carry out a delete task: its files go to the trash, one after the other.

        Returns when it is completed; if it is paused for long, aborted or cut off, calling this
        again goes on with what is left.
        """
        task = await self._of_kind(principal, id_, "delete")
        numbers = task.subject["files"]
        await self._note(id_, total=len(numbers))
        async with self.transfer(principal, id_) as transfer:
            await transfer.control.run(self._delete_all(principal, numbers, transfer))
        return await self.get(principal, id_)

    async def _delete_all(
        self, principal: Principal, numbers: Sequence[int], transfer: Transfer
    ) -> None:
        for count, number in enumerate(numbers, start=1):
            await transfer.control.proceed()
            transfer.control.check()
            await self._trash.delete_if_live(principal, str(number))
            await transfer.moved(count)
        transfer.completed = True

    async def _select(
        self, principal: Principal, query: FileQuery | None, refs: Sequence[str]
    ) -> Sequence[FileVersion]:
        if refs:
            return await self._files.get_many(principal, refs)
        return await self._files.every(principal, query or FileQuery())

    async def _of_kind(self, principal: Principal, id_: str, kind: TaskKind) -> Task:
        task = await self.get(principal, id_)
        access.require(principal, _SCOPE[kind])
        if task.kind != kind:
            raise Invalid(f"The task is no {kind} task.", {"kind": task.kind})
        return task

    async def _change(
        self,
        principal: Principal,
        id_: str,
        only_from: Sequence[Any],
        state: Any,
    ) -> Task:
        def work(connection: Connection) -> None:
            task = _own(connection, principal, id_)
            access.require(principal, _SCOPE[task.kind])
            if task.state not in records.LIVING:
                raise _over(task)
            begun = "pending" if task.kind is None and state == "running" else state
            records.change(connection, id_, now(), only_from, state=begun)

        await self._catalog.write(work)
        self._controls.poke()
        return await self.get(principal, id_)

    async def _note(self, id_: str, **values: Any) -> None:
        allowed: Sequence[TaskState] = ("pending", "running") if "state" in values else ()
        await self._catalog.write(
            lambda connection: records.change(connection, id_, now(), allowed, **values),
            durable="state" in values,
        )


class Transfer:
    """A download or delete that is being carried out.

    ``done``: how far it has come; ``completed``: set it when all is done.
    """

    def __init__(self, control: Control, note: Any) -> None:
        self.control = control
        self.done = 0
        self.completed = False
        self._note = note
        self._noted = time.monotonic()

    async def moved(self, done: int) -> None:
        """Note progress, now and then."""
        self.done = max(self.done, done)
        if time.monotonic() - self._noted > _PROGRESS_SECONDS:
            self._noted = time.monotonic()
            await self._note(done=self.done)

    def gated(self, content: Content) -> Content:
        """*content* in slices so small that a pause takes effect at once, counted."""

        async def pieces(start: int, stop: int) -> AsyncIterator[Piece]:
            position, size, handed = start, SMALLEST_SLICE, time.monotonic()
            async for piece in content.pieces(start, stop):
                offset = 0
                while offset < piece.size:
                    await self.control.proceed()
                    part = _part(piece, offset, size)
                    yield part
                    took, handed = time.monotonic() - handed, time.monotonic()
                    factor = 2 if took < _SLICE_SECONDS else 0.5
                    size = int(min(LARGEST_SLICE, max(SMALLEST_SLICE, size * factor)))
                    offset += part.size
                    position += part.size
                    await self.moved(position)
            self.completed = self.completed or position == content.size

        return replace(content, pieces=pieces)


def _part(piece: Piece, offset: int, size: int) -> Piece:
    if isinstance(piece, FileSlice):
        return replace(piece, start=piece.start + offset, size=min(size, piece.size - offset))
    return piece


def _own(connection: Connection, principal: Principal, id_: str) -> Task:
    task = records.get(connection, principal.id, id_)
    if not access.task(connection, principal, task):
        raise access.hidden(NotFound(f"There is no task {id_!r}."))
    return _as_of(task, now())


def _as_of(task: Task, instant: Micros) -> Task:
    if task.state in records.LIVING and task.expires <= instant:
        return replace(task, state="expired")
    return task


def _over(task: Task) -> Conflict:
    return Conflict(f"The task is {task.state}.", {"id": task.id, "state": task.state})
