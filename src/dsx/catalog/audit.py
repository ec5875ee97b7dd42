"""The audit log: every change, and every attempt that was refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from dsx.catalog.schema import audit, users
from dsx.core.model import Micros
from dsx.core.principals import Event, Principal

_MAX_TARGET = 1024


def entry(
    principal: Principal | None,
    now: Micros,
    action: str,
    target: str,
    *,
    outcome: str = "done",
    details: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """A row: *principal* (None: nobody known) did *action* to *target*, or was refused to."""
    return {
        "at": now,
        "principal": principal.id if principal else "",
        "via": principal.via if principal else "",
        "address": principal.address if principal else "",
        "action": action,
        "target": target[:_MAX_TARGET],
        "outcome": outcome,
        "details": dict(details or {}),
    }


def add(connection: Connection, *entries: Mapping[str, Any]) -> None:
    """Append to the log, in the transaction that makes the change, so that neither is alone."""
    connection.execute(insert(audit), list(entries))


def page(
    connection: Connection,
    *,
    before: int | None,
    limit: int,
    principal: str | None = None,
    outcome: str | None = None,
) -> Sequence[Event]:
    """Entries with numbers smaller than *before*, newest first."""
    query = select(audit, users.c.name).outerjoin(users, users.c.id == audit.c.principal)
    query = query.order_by(audit.c.number.desc()).limit(limit)
    if before is not None:
        query = query.where(audit.c.number < before)
    if principal is not None:
        query = query.where(audit.c.principal == principal)
    if outcome is not None:
        query = query.where(audit.c.outcome == outcome)
    return [Event(**row) for row in connection.execute(query).mappings()]


def tidy(connection: Connection, forgotten: Micros) -> None:
    """Forget what happened before that instant."""
    connection.execute(delete(audit).where(audit.c.at < forgotten))
