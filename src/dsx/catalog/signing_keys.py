"""Encrypted keys for signed tokens."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, delete, insert, or_, select, update

from dsx.catalog.database import lock
from dsx.catalog.schema.accounts import signing_keys
from dsx.core.model import Micros

_LOCK = 0x6B657973  # "keys"


def lock_keys(connection: Connection) -> None:
    """Exclude other transactions from making or retiring keys until this one ends."""
    lock(connection, _LOCK)


def add(connection: Connection, id_: str, sealed: str, now: Micros) -> None:
    """Record a key."""
    connection.execute(insert(signing_keys).values(id=id_, sealed=sealed, created=now))


def retire(connection: Connection, at: Micros) -> None:
    """Make every current key verify until *at* at most."""
    columns = signing_keys.c
    later = or_(columns.retires.is_(None), columns.retires > at)
    connection.execute(update(signing_keys).where(later).values(retires=at))


def living(connection: Connection, now: Micros) -> Sequence[tuple[str, str, Micros | None]]:
    """Return id, encrypted key and end of verification (None: it also signs), newest first."""
    columns = signing_keys.c
    query = select(signing_keys).where(or_(columns.retires.is_(None), columns.retires > now))
    rows = connection.execute(query.order_by(columns.created.desc(), columns.id.desc()))
    return [(row.id, row.sealed, row.retires) for row in rows]


def delete_expired(connection: Connection, now: Micros) -> None:
    """Delete retired keys."""
    connection.execute(delete(signing_keys).where(signing_keys.c.retires <= now))
