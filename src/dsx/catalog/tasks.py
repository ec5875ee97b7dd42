"""Tasks: the states of transfers, which any server can read and change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Row, delete, insert, select, tuple_, update

from dsx.catalog.schema.transfers import tasks, writers
from dsx.core.batches import in_batches
from dsx.core.errors import NotFound
from dsx.core.model import Micros
from dsx.core.transfers import Task, TaskKind, TaskState

_QUIET: Micros = 3_000_000
_DEAD: Micros = 120_000_000
MARKS = 5000
LIVING: tuple[TaskState, ...] = ("pending", "running", "waiting", "paused")


def add(connection: Connection, task: Task) -> None:
    """Record a new task."""
    connection.execute(
        insert(tasks).values(
            id=task.id,
            owner=task.owner,
            kind=task.kind,
            state=task.state,
            name=task.name,
            done=task.done,
            total=task.total,
            message=task.message,
            subject=task.subject,
            created=task.created,
            updated=task.updated,
            expires=task.expires,
        )
    )


def get(connection: Connection, owner: str, id_: str) -> Task:
    """Return the owner's task, or `NotFound`."""
    query = select(tasks).where(tasks.c.id == id_, tasks.c.owner == owner)
    row = connection.execute(query).first()
    if row is None:
        raise NotFound(f"There is no task {id_!r}.")
    return _task(row)


def whose(connection: Connection, id_: str) -> str | None:
    """Return the owner of a task, if it exists."""
    query = select(tasks.c.owner).where(tasks.c.id == id_)
    return connection.execute(query).scalar_one_or_none()


def page(
    connection: Connection, owner: str | None, before: tuple[Micros, str] | None, limit: int
) -> list[Task]:
    """Return the owner's tasks (None: all), newest first, older than *before* (created, id)."""
    query = select(tasks).order_by(tasks.c.created.desc(), tasks.c.id.desc()).limit(limit)
    if owner is not None:
        query = query.where(tasks.c.owner == owner)
    if before is not None:
        query = query.where(tuple_(tasks.c.created, tasks.c.id) < before)
    return [_task(row) for row in connection.execute(query)]


def is_living() -> ColumnElement[bool]:
    """Return the condition that a task is unfinished and not an upload's, which counts as such."""
    return tasks.c.state.in_(LIVING) & (tasks.c.kind.is_(None) | (tasks.c.kind != "upload"))


def of_kind(connection: Connection, owner: str, kind: TaskKind) -> list[Task]:
    """Return the owner's unfinished tasks of that kind."""
    mine = tasks.c.owner == owner, tasks.c.kind == kind, tasks.c.state.in_(LIVING)
    return [_task(row) for row in connection.execute(select(tasks).where(*mine))]


def silent(connection: Connection, found: Sequence[Task], now: Micros) -> set[str]:
    """Return the ids of those of *found* that are marked as running but that nobody runs.

    An upload has a record of its writer; a dead one may have left it behind, but makes no progress
    any more. The same holds for other transfers.
    """
    quiet = [t for t in found if t.state == "running" and now - t.updated > _QUIET]
    ids = [task.id for task in quiet if task.kind == "upload"]
    held = set(
        connection.execute(select(writers.c.upload).where(writers.c.upload.in_(ids))).scalars()
    )
    return {
        task.id
        for task in quiet
        if now - task.updated > _DEAD or (task.kind == "upload" and task.id not in held)
    }


def marks(connection: Connection, owner: str, since: Micros) -> list[tuple[str, Micros]]:
    """Return ids and times of the owner's tasks updated at *since* or later, oldest first.

    The first `MARKS` of them.
    """
    query = select(tasks.c.id, tasks.c.updated).where(
        tasks.c.owner == owner, tasks.c.updated >= since
    )
    rows = connection.execute(query.order_by(tasks.c.updated, tasks.c.id).limit(MARKS))
    return [(row.id, row.updated) for row in rows]


def some(connection: Connection, owner: str, ids: Sequence[str]) -> list[Task]:
    """Return those of *ids*, some hundred, that are the owner's tasks, by time of update."""
    query = select(tasks).where(tasks.c.owner == owner, tasks.c.id.in_(ids))
    rows = connection.execute(query.order_by(tasks.c.updated, tasks.c.id))
    return [_task(row) for row in rows]


class Standing(NamedTuple):
    """The state of a running transfer's task."""

    state: TaskState
    expires: Micros
    begun: Micros | None


def states(connection: Connection, ids: Sequence[str]) -> dict[str, Standing]:
    """Return the states of the existing ones of *ids*."""
    found: dict[str, Standing] = {}
    columns = tasks.c.id, tasks.c.state, tasks.c.expires, tasks.c.begun
    for batch in in_batches(ids):
        some = tasks.c.id.in_(batch)
        rows = connection.execute(select(*columns).where(some))
        found.update({row.id: Standing(row.state, row.expires, row.begun) for row in rows})
    return found


def begin(connection: Connection, ids: Sequence[str], now: Micros) -> None:
    """Record that these run, unless already recorded."""
    for batch in in_batches(ids):
        some = tasks.c.id.in_(batch)
        connection.execute(update(tasks).where(some, tasks.c.begun.is_(None)).values(begun=now))


def assign(connection: Connection, id_: str, now: Micros, **values: Any) -> bool:
    """Set the kind of a pending task; False if it was already set, or it does not wait."""
    waiting = (tasks.c.id == id_) & tasks.c.kind.is_(None) & (tasks.c.state == "pending")
    statement = update(tasks).where(waiting).values(updated=now, **values)
    return bool(connection.execute(statement).rowcount)


def change(
    connection: Connection,
    id_: str,
    now: Micros,
    only_from: Sequence[TaskState] = (),
    **values: Any,
) -> bool:
    """Set columns of a task, if its state is one of *only_from* (none given: any)."""
    statement = update(tasks).where(tasks.c.id == id_).values(updated=now, **values)
    if only_from:
        statement = statement.where(tasks.c.state.in_(only_from))
    return bool(connection.execute(statement).rowcount)


def end(connection: Connection, id_: str, now: Micros, forgotten: Micros, **values: Any) -> None:
    """End a task unless it has already ended; it is deleted after *forgotten*."""
    change(connection, id_, now, LIVING, expires=forgotten, **values)


def delete_expired(connection: Connection, now: Micros) -> list[str]:
    """End expired tasks, and delete those that have ended.

    Returns the ids of uploads whose tasks have just expired.
    """
    living = tasks.c.state.in_(LIVING)
    over = tasks.c.expires <= now
    connection.execute(delete(tasks).where(over, ~living))
    ended = update(tasks).where(over, living).values(state="expired", updated=now)
    rows = connection.execute(ended.returning(tasks.c.id, tasks.c.kind))
    return [row.id for row in rows if row.kind == "upload"]


def _task(row: Row[Any]) -> Task:
    return Task(
        id=row.id,
        owner=row.owner,
        kind=row.kind,
        state=row.state,
        name=row.name,
        done=row.done,
        total=row.total,
        message=row.message,
        created=row.created,
        updated=row.updated,
        expires=row.expires,
        subject=row.subject,
    )
