"""The audit log: every change, and every refused attempt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import (
    Connection,
    Text,
    cast,
    delete,
    exists,
    func,
    insert,
    select,
    union_all,
    update,
)

from dsx.catalog import users as users_of
from dsx.catalog.schema.accounts import audit, departed, users
from dsx.core.model import Micros
from dsx.core.principals import SERVICE, Event, Principal

_MAX_TARGET = 1024
_MAX_ADDRESS = 64
_ROW = 200
"""Approximate bytes of an entry beside its texts."""


def entry(
    principal: Principal | None,
    now: Micros,
    action: str,
    target: str,
    *,
    outcome: str = "done",
    details: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return a row: *principal* (None: unknown) did *action* to *target*, or was refused."""
    return {
        "at": now,
        "principal": principal.id if principal else "",
        "via": principal.via if principal else "",
        "address": principal.address[:_MAX_ADDRESS] if principal else "",
        "action": action,
        "target": target[:_MAX_TARGET],
        "outcome": outcome,
        "details": dict(details or {}),
    }


def add(connection: Connection, *entries: Mapping[str, Any]) -> None:
    """Append to the log, in the transaction that makes the change, so that both are committed."""
    connection.execute(insert(audit), list(entries))


def put(connection: Connection, number: int | None, entry: Mapping[str, Any]) -> int:
    """Append *entry*, or update the details of entry *number* if it exists; returns its number."""
    if number is None:
        added = connection.execute(insert(audit).values(entry).returning(audit.c.number))
        return int(added.scalar_one())
    here = update(audit).where(audit.c.number == number)
    connection.execute(here.values(details=entry["details"]))
    return number


def page(
    connection: Connection,
    *,
    before: int | None,
    limit: int,
    principals: Sequence[str] | None = None,
    outcome: str | None = None,
) -> Sequence[Event]:
    """Return entries with numbers below *before*, newest first; *principals*: only theirs."""
    name = func.coalesce(users.c.name, departed.c.name).label("name")
    query = select(audit, name).outerjoin(users, users.c.id == audit.c.principal)
    query = query.outerjoin(departed, departed.c.id == audit.c.principal)
    query = query.order_by(audit.c.number.desc()).limit(limit)
    if before is not None:
        query = query.where(audit.c.number < before)
    if principals is not None:
        query = query.where(audit.c.principal.in_(principals))
    if outcome is not None:
        query = query.where(audit.c.outcome == outcome)
    return [Event(**row) for row in connection.execute(query).mappings()]


def delete_expired(connection: Connection, forgotten: Micros) -> None:
    """Delete entries older than *forgotten*, and names without entries."""
    connection.execute(delete(audit).where(audit.c.at < forgotten))
    mentioned = exists().where(audit.c.principal == departed.c.id)
    connection.execute(delete(departed).where(~mentioned))


def called(connection: Connection, name: str) -> list[str]:
    """Return the owner ids that have that name, in any case, or had it when they were deleted."""
    key = users_of.key_of(name)
    found = [select(table.c.id).where(table.c.key == key) for table in (users, departed)]
    ids = connection.execute(union_all(*found)).scalars().all()
    return [SERVICE, *ids] if name == SERVICE else [*ids]


def extent(connection: Connection) -> tuple[int, int]:
    """Return the number of entries, and about how many bytes they take."""
    columns = (audit.c.target, audit.c.address, audit.c.principal, cast(audit.c.details, Text))
    texts = sum((func.length(column) for column in columns[1:]), func.length(columns[0]))
    query = select(func.count(), func.coalesce(func.sum(texts), 0)).select_from(audit)
    rows, size = connection.execute(query).one()
    return rows, int(size) + _ROW * rows


def drop_oldest(connection: Connection, limit: int, *, refused: bool) -> int:
    """Delete the oldest entries, or the oldest refusals; returns how many."""
    query = select(audit.c.number).order_by(audit.c.number).limit(limit)
    if refused:
        query = query.where(audit.c.outcome == "refused")
    return connection.execute(delete(audit).where(audit.c.number.in_(query))).rowcount
