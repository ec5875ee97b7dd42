"""Tasks: any server can read and change the state of a transfer, whichever server runs it."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Literal

from sqlalchemy import Connection

from dsx.catalog import tasks as records
from dsx.catalog import usage
from dsx.catalog.database import Catalog
from dsx.core.content import Content
from dsx.core.errors import Conflict, Invalid, NotFound
from dsx.core.model import FileQuery, Micros
from dsx.core.principals import Principal
from dsx.core.shield import run_in_thread, run_to_completion
from dsx.core.transfers import Task, TaskKind, TaskState
from dsx.hub.accounts import access
from dsx.hub.clock import SECOND, now
from dsx.hub.files.archive import archive, check_count, entry_names
from dsx.hub.files.files import Files
from dsx.hub.files.presence import Present, always_present
from dsx.hub.files.trash import Trash
from dsx.hub.limits import Limits, check_number
from dsx.hub.transfers.carried import Transfer
from dsx.hub.transfers.control import Controls
from dsx.hub.transfers.emptying import Emptying
from dsx.hub.transfers.task_changes import SETTLED, Seen
from dsx.hub.transfers.task_states import check_runnable, over, own, shown
from dsx.hub.transfers.time_limit import TimeLimit
from dsx.hub.transfers.uploads import Uploads

SelectingKind = Literal["download", "delete"]
SELECTING: frozenset[TaskKind | None] = frozenset(("download", "delete"))
_DIGITS = 19


class Tasks:
    """The tasks of all principals; each call sees only the caller's."""

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
        """Tasks created explicitly end after *ttl* seconds, even if they are running.

        Tasks of any kind that have been running for *max_seconds* are aborted.
        """
        self._catalog = catalog
        self._controls = controls
        self._files = files
        self._trash = trash
        self._uploads = uploads
        self._limits = limits
        self._ttl = int(ttl * SECOND)
        self._emptying = Emptying(catalog, controls, trash, self._ttl)
        if max_seconds is not None:
            controls.watch = TimeLimit(catalog, max_seconds, self.stop).watch

    async def create(
        self,
        principal: Principal,
        kind: TaskKind | None = None,
        *,
        name: str = "",
        query: FileQuery | None = None,
        refs: Sequence[str] = (),
        present: Present = always_present,
    ) -> Task:
        """Create a pending task with an unguessable id.

        The files of a download or a delete are chosen now, by *refs* or *query*; later ones are not
        included. `NotFound` if one of *refs* is unknown. *present*: see `Files.get_many`.
        """
        access.require_task(principal, kind)
        subject: dict[str, Any] = {} if principal.places is None else {"via": principal.via}
        if kind in SELECTING:
            found = await self._select(principal, query, refs, present)
            subject["files"] = found
            if kind == "download" and found:
                await self._check_download(principal, found)
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
            living = usage.of(connection, principal.id).tasks
            check_number(living, self._limits.tasks, "unfinished tasks")
            records.add(connection, task)

        await self._catalog.write(work)
        return task

    async def assign(
        self, principal: Principal, id_: str, kind: SelectingKind, query: FileQuery
    ) -> Task:
        """Assign a task that has no kind yet to the files that *query* finds now.

        For an assigned task the first query counts; a later one must be empty or the same. Else, or
        if the task is of another kind, `Conflict`. `Gone` if it has ended, `Paused`; `NotFound` if
        there is nothing to download, `TooLarge` if there is too much.
        """
        access.require_task(principal, kind)
        task = await self.get(principal, id_)
        asked = _filters(query)
        if task.kind is None:
            check_runnable(task)
            found = await self._select(principal, query, (), always_present)
            if kind == "download":
                await self._check_download(principal, found)
            subject = {"files": found, "query": asked}
            values = {"kind": kind, "name": _called(found), "subject": subject}
            await self._catalog.write(
                lambda connection: records.assign(connection, id_, now(), **values)
            )
            task = await self.get(principal, id_)
        check_runnable(task)
        if task.kind != kind:
            raise Conflict(f"The task is for {task.kind or 'nothing'}.", {"kind": task.kind})
        if asked and asked != task.subject.get("query"):
            raise Conflict("The task's files were already set, and differ.")
        return task

    async def get(self, principal: Principal, id_: str) -> Task:
        """Return the task, or `NotFound`."""
        access.require(principal, "read")
        return await self._get(principal, id_)

    async def list(
        self,
        principal: Principal,
        *,
        before: str | None = None,
        limit: int,
        everyone: bool = False,
    ) -> tuple[Sequence[Task], str | None]:
        """Return a page of the principal's tasks, newest first, and *before* of the next page.

        Of *everyone*, for admins. `Invalid` unless *before* comes from a page.
        """
        access.require(principal, "admin" if everyone else "read")
        if everyone:
            access.require_account(principal)
        owner = None if everyone else principal.id
        after = None if before is None else _place(before)

        def work(connection: Connection) -> tuple[Sequence[Task], str | None]:
            found = records.page(connection, owner, after, limit)
            following = f"{found[-1].created}_{found[-1].id}" if len(found) == limit else None
            if not everyone:
                found = [task for task in found if access.task(connection, principal, task)]
            return shown(connection, found), following

        return await self._catalog.read(work)

    async def empty_trash(self, principal: Principal, patience: float) -> Task:
        """See `Emptying.empty`."""
        return await self._emptying.empty(principal, patience)

    async def aclose(self) -> None:
        """Leave background work as it is."""
        await self._emptying.aclose()

    async def changed(self, principal: Principal, seen: Seen) -> Sequence[Task]:
        """Return the next tasks that changed since *seen*, oldest change first, and update it.

        A change may become visible a little after its time, so this looks back two seconds before
        the last one seen. At most `Seen.MOST` at a time.
        """
        access.require(principal, "read")

        def work(connection: Connection) -> Sequence[Task]:
            new = seen.pick(records.marks(connection, principal.id, seen.since - SETTLED))
            found = records.some(connection, principal.id, new)
            mine = [task for task in found if access.task(connection, principal, task)]
            return shown(connection, mine)

        seen.rewind(now())
        return await self._catalog.read(work)

    async def pause(self, principal: Principal, id_: str) -> Task:
        """Pause the transfer. Idempotent; `Conflict` if it has ended."""
        return await self._change(principal, id_, ("pending", "running", "waiting"), "paused")

    async def resume(self, principal: Principal, id_: str) -> Task:
        """Resume the transfer. Idempotent; `Conflict` if it has ended."""
        task = await self._change(principal, id_, ("paused",), "running")
        if task.kind == "upload":
            await self._uploads.resumed(id_, task.owner)
            return await self._get(principal, id_)
        return task

    async def abort(self, principal: Principal, id_: str) -> Task:
        """End the transfer and drop its bytes. Idempotent; `Conflict` if it is completed.

        Also drops a complete partial upload. An admin may abort anybody's.
        """
        task = await self._get(principal, id_, anybodys=True)
        access.require_task(principal, task.kind)
        if task.state in {"aborted", "expired"}:
            return task
        if task.kind == "upload" and await self._uploads.holds_bytes(id_):
            await self._uploads.abort(principal, id_)
        elif task.state == "completed":
            raise over(task)
        else:
            await self._catalog.write(
                lambda connection: records.end(
                    connection, id_, now(), now() + self._ttl, state="aborted"
                )
            )
            self._controls.poke()
        return await self._get(principal, id_, anybodys=True)

    async def content(
        self, principal: Principal, id_: str, present: Present = always_present
    ) -> Content:
        """Return the ZIP of a download task's files, the same until the task ends."""
        task = await self._of_kind(principal, id_, "download")
        versions = await self._files.chosen(principal, task.subject["files"], present)
        return await archive(versions, self._files, present)

    async def _check_download(self, principal: Principal, found: Sequence[int]) -> None:
        """Refuse downloads that no archive could hold."""
        if not found:
            raise NotFound("None of your files match.")
        check_count(len(found))
        await run_in_thread(entry_names, await self._files.chosen(principal, found))

    @asynccontextmanager
    async def transfer(self, principal: Principal, id_: str) -> AsyncIterator[Transfer]:
        """Run the task's transfer within the block; others may pause or abort it.

        Raises `Paused` or `Gone` if it may not run now.
        """
        task = await self._get(principal, id_)
        check_runnable(task)
        await self._note(id_, state="running")
        async with self._controls.transfer(id_) as control:
            transfer = Transfer(control, partial(self._note, id_))
            try:
                yield transfer
            finally:
                ended = "completed" if transfer.completed else "waiting"
                await run_to_completion(self._note(id_, done=transfer.done, state=ended))

    async def delete(self, principal: Principal, id_: str) -> Task:
        """Run a delete task: its files go to the trash, one after the other.

        Returns when it is completed; if it is paused for long, aborted or interrupted, calling this
        again continues it. Once it is completed, that does nothing: files restored since stay.
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
        self,
        principal: Principal,
        query: FileQuery | None,
        refs: Sequence[str],
        present: Present,
    ) -> Sequence[int]:
        """Return the numbers of the chosen files."""
        if refs:
            chosen = await self._files.get_many(principal, refs, present)
            return [version.number for version in chosen]
        found = self._files.every(principal, query or FileQuery(), present)
        return [version.number async for version in found]

    async def stop(self, id_: str, why: str) -> None:
        """Abort a task of any owner."""
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
            raise Invalid(f"The task is not of kind {kind}.", {"kind": task.kind})
        return task

    async def _change(
        self,
        principal: Principal,
        id_: str,
        only_from: Sequence[Any],
        state: Any,
    ) -> Task:
        def work(connection: Connection) -> None:
            task = own(connection, principal, id_)
            access.require_task(principal, task.kind)
            if task.state not in records.LIVING:
                raise over(task)
            begun = "pending" if task.kind is None and state == "running" else state
            records.change(connection, id_, now(), only_from, state=begun)

        await self._catalog.write(work)
        self._controls.poke()
        return await self._get(principal, id_)

    async def _get(self, principal: Principal, id_: str, *, anybodys: bool = False) -> Task:
        """Return the task if the principal has one of the scopes that its kinds need."""
        return await self._catalog.read(
            lambda connection: own(connection, principal, id_, anybodys=anybodys)
        )

    async def _note(self, id_: str, **values: Any) -> None:
        allowed: Sequence[TaskState] = (
            ("pending", "running", "waiting") if "state" in values else ()
        )
        await self._catalog.write(
            lambda connection: records.change(connection, id_, now(), allowed, **values),
            durable="state" in values,
        )


def _place(before: str) -> tuple[Micros, str]:
    """Parse the position where a page ended: the last task's creation time and id."""
    created, _, id_ = before.partition("_")
    if not (created.isascii() and created.isdecimal() and len(created) < _DIGITS and id_):
        raise Invalid("before must be the `next` of another page.", {"field": "query.before"})
    return int(created), id_


def _called(numbers: Sequence[int]) -> str:
    return f"{len(numbers)} files"


def _filters(query: FileQuery) -> dict[str, Any]:
    """Return the filters of *query* for names and times as JSON."""
    asked = {"regex": query.regex, "from": query.created_from, "to": query.created_to}
    return {key: value for key, value in asked.items() if value is not None}
