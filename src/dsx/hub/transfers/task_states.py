"""The state of a task as its owner sees it, and what that state allows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Connection

from dsx.catalog import tasks as records
from dsx.core.errors import Conflict, Gone, Paused
from dsx.core.model import Micros
from dsx.core.principals import Principal
from dsx.core.transfers import Task
from dsx.hub.accounts import access
from dsx.hub.clock import now


def own(connection: Connection, principal: Principal, id_: str, *, anybodys: bool = False) -> Task:
    """Return the principal's task; with *anybodys*, for an admin, anyone's. `NotFound` if none."""
    owner = records.whose(connection, id_) if anybodys and principal.admin else None
    if owner not in {None, principal.id}:
        return shown(connection, [records.get(connection, owner or "", id_)])[0]
    return shown(connection, [access.own_task(connection, principal, id_)])[0]


def shown(connection: Connection, found: Sequence[Task]) -> list[Task]:
    """Return tasks in their current state: some have expired, some are not being worked on."""
    instant = now()
    silent = records.silent(connection, found, instant)
    return [
        replace(task, state="waiting") if task.id in silent else _as_of(task, instant)
        for task in found
    ]


def _as_of(task: Task, instant: Micros) -> Task:
    if task.state in records.LIVING and task.expires <= instant:
        return replace(task, state="expired")
    return task


def check_runnable(task: Task) -> None:
    """Raise `Paused` or `Gone` if the task may not run now."""
    if task.state == "paused":
        raise Paused("The task is paused; resume it first.", {"id": task.id})
    if task.state in {"aborted", "expired"}:
        raise Gone(f"The task was {task.state}.", {"id": task.id})


def over(task: Task) -> Conflict:
    """The error of changing a task that has ended."""
    return Conflict(f"The task is {task.state}.", {"id": task.id, "state": task.state})
