"""Tasks: any server can read and change what a transfer is to do, whoever carries its bytes."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any, Literal

from sqlalchemy import Connection

from dsx.catalog import tasks as records
from dsx.catalog.engine import Catalog
from dsx.core.content import Content, FileSlice, Piece, Stream
from dsx.core.errors import Conflict, Gone, Invalid, NotFound, Paused
from dsx.core.model import FileQuery, Micros
from dsx.core.principals import Principal
from dsx.core.shielded import whatever_happens
from dsx.core.transfers import Task, TaskKind, TaskState
from dsx.hub import access
from dsx.hub.archive import archive, check_count
from dsx.hub.clock import SECOND, now
from dsx.hub.files import Files
from dsx.hub.limits import Limits, check_number
from dsx.hub.transfers.control import Control, Controls
from dsx.hub.transfers.overtime import Overtime
from dsx.hub.transfers.uploads import Uploads
from dsx.hub.trash import Trash

SMALLEST_SLICE = 128 * 1024
LARGEST_SLICE = 8 * 1024 * 1024
_SLICE_SECONDS = 0.1
_PROGRESS_SECONDS = 0.5
SelectingKind = Literal["download", "delete"]
SELECTING: frozenset[TaskKind | None] = frozenset(("download", "delete"))
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
        limits: Limits = Limits(),  # noqa: B008 (frozen)
        max_seconds: float | None = None,
    ) -> None:
        """A task that is made by itself ends after *ttl* seconds, whatever it is doing.

        What has been running for *max_seconds*, of any task, is aborted.
        """
        self._catalog = catalog
        self._controls = controls
        self._files = files
        self._trash = trash
        self._uploads = uploads
        self._limits = limits
        self._ttl = int(ttl * SECOND)
        if max_seconds is not None:
            controls.watch = Overtime(catalog, max_seconds, self._stop).watch

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
        access.require_task(principal, kind)
        subject: dict[str, Any] = {} if principal.places is None else {"via": principal.via}
        if kind in SELECTING:
            found = await self._select(principal, query, refs)
            subject["files"] = found
        instant = now()
        task = Task(
            id=str(uuid.uuid4()),
            owner=principal.id,
            kind=kind,
            state="pending",
            name=name or _called(subject["files"]) if kind in SELECTING else name,
            done=0,
            total=None,
            message=None,
            created=instant,
            updated=instant,
            expires=instant + self._ttl,
            subject=subject,
        )

        def work(connection: Connection) -> None:
            living = records.living(connection, principal.id)
            check_number(living, self._limits.tasks, "tasks that are not over")
            records.add(connection, task)

        await self._catalog.write(work)
        return task

    async def take_up(
        self, principal: Principal, id_: str, kind: SelectingKind, query: FileQuery
    ) -> Task:
        """Have a task that is for nothing yet be about the files that *query* finds now.

        Of a task that was taken up before it is the first query that counts; a later one is empty
        or the same. Else, or if the task is for something else, `Conflict`. `Gone` if it has ended,
        `Paused`; `NotFound` if there is nothing to download, `TooLarge` if it is too much.
        """
        access.require_task(principal, kind)
        task = await self.get(principal, id_)
        asked = _filters(query)
        if task.kind is None and _may_run(task):
            found = await self._select(principal, query, ())
            if kind == "download":
                _check_download(found)
            subject = {"files": found, "query": asked}
            values = {"kind": kind, "name": _called(found), "subject": subject}
            await self._catalog.write(
                lambda connection: records.take_up(connection, id_, now(), **values)
            )
            task = await self.get(principal, id_)
        if _may_run(task) and task.kind != kind:
            raise Conflict(f"The task is for {task.kind or 'nothing'}.", {"kind": task.kind})
        if asked and asked != task.subject.get("query"):
            raise Conflict("Which files the task is about was said before, and differently.")
        return task

    async def get(self, principal: Principal, id_: str) -> Task:
        """The task, or `NotFound`."""
        access.require(principal, "read")
        return await self._get(principal, id_)

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
        task = await self._change(principal, id_, ("paused",), "running")
        if task.kind == "upload":
            await self._uploads.resumed(id_, task.owner)
            return await self._get(principal, id_)
        return task

    async def abort(self, principal: Principal, id_: str) -> Task:
        """End the transfer and drop what it had. Idempotent; `Conflict` if it is completed."""
        task = await self._get(principal, id_)
        access.require_task(principal, task.kind)
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
        return await self._get(principal, id_)

    async def content(self, principal: Principal, id_: str) -> Content:
        """What a download task sends: a ZIP of its files, the same until the task ends."""
        task = await self._of_kind(principal, id_, "download")
        versions = await self._files.chosen(principal, task.subject["files"])
        return await archive(versions, self._files.blobs)

    @asynccontextmanager
    async def transfer(self, principal: Principal, id_: str) -> AsyncIterator[Transfer]:
        """Carry out, within the block, what the task is about; others may pause or abort it.

        Raises `Paused` or `Gone` if it may not run now.
        """
        task = await self._get(principal, id_)
        _may_run(task)
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
        again goes on with what is left. Once it is completed, that does nothing: a file that was
        restored since stays.
        """
        task = await self._of_kind(principal, id_, "delete")
        if task.state == "completed":
            return task
        numbers = task.subject["files"]
        await self._note(id_, total=len(numbers))
        async with self.transfer(principal, id_) as transfer:
            await transfer.control.run(self._delete_all(principal, numbers, transfer))
        return await self._get(principal, id_)

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
    ) -> Sequence[int]:
        """The numbers of the chosen files."""
        if refs:
            return [version.number for version in await self._files.get_many(principal, refs)]
        found = self._files.every(principal, query or FileQuery())
        return [version.number async for version in found]

    async def _stop(self, id_: str, why: str) -> None:
        """Abort a task, whosever it is."""
        await self._uploads.stop(id_, why)
        ended = {"state": "aborted", "message": why}
        await self._catalog.write(
            lambda connection: records.end(connection, id_, now(), now() + self._ttl, **ended)
        )
        self._controls.poke()

    async def _of_kind(self, principal: Principal, id_: str, kind: TaskKind) -> Task:
        task = await self._get(principal, id_)
        access.require_task(principal, kind)
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
            access.require_task(principal, task.kind)
            if task.state not in records.LIVING:
                raise _over(task)
            begun = "pending" if task.kind is None and state == "running" else state
            records.change(connection, id_, now(), only_from, state=begun)

        await self._catalog.write(work)
        self._controls.poke()
        return await self._get(principal, id_)

    async def _get(self, principal: Principal, id_: str) -> Task:
        """The task for who has one of the scopes that its kinds ask for."""
        return await self._catalog.read(lambda connection: _own(connection, principal, id_))

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
                if isinstance(piece, Stream):
                    yield replace(piece, chunks=partial(self._gated_chunks, piece, position))
                    position += piece.size
                    continue
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

    async def _gated_chunks(self, stream: Stream, position: int) -> AsyncIterator[bytes]:
        async for chunk in stream.chunks():
            await self.control.proceed()
            yield chunk
            position += len(chunk)
            await self.moved(position)


def _part(piece: Piece, offset: int, size: int) -> Piece:
    if isinstance(piece, FileSlice):
        return replace(piece, start=piece.start + offset, size=min(size, piece.size - offset))
    return piece


def _own(connection: Connection, principal: Principal, id_: str) -> Task:
    return _as_of(access.own_task(connection, principal, id_), now())


def _as_of(task: Task, instant: Micros) -> Task:
    if task.state in records.LIVING and task.expires <= instant:
        return replace(task, state="expired")
    return task


def _may_run(task: Task) -> bool:
    """True; `Paused` or `Gone` if the task may not run now."""
    if task.state == "paused":
        raise Paused("The task is paused; resume it first.", {"id": task.id})
    if task.state in {"aborted", "expired"}:
        raise Gone(f"The task was {task.state}.", {"id": task.id})
    return True


def _check_download(found: Sequence[int]) -> None:
    if not found:
        raise NotFound("None of your files matches.")
    check_count(len(found))


def _called(numbers: Sequence[int]) -> str:
    return f"{len(numbers)} files"


def _filters(query: FileQuery) -> dict[str, Any]:
    """What *query* asks of names and times, as JSON."""
    asked = {"regex": query.regex, "from": query.created_from, "to": query.created_to}
    return {key: value for key, value in asked.items() if value is not None}


def _over(task: Task) -> Conflict:
    return Conflict(f"The task is {task.state}.", {"id": task.id, "state": task.state})
