"""Counts failed sign-ins, so that all servers together have one limit."""

from __future__ import annotations

from sqlalchemy import Connection, delete, insert, select, update

from dsx.catalog.database import lock
from dsx.catalog.schema.accounts import attempts, known_sources
from dsx.core.model import Micros

MOST_KNOWN = 50


def note(connection: Connection, key: str, now: Micros, window: Micros) -> tuple[int, Micros]:
    """Count one more under *key*; returns how many in the window, and when it ends."""
    lock(connection, int(key[:15], 16))
    row = connection.execute(select(attempts).where(attempts.c.key == key)).first()
    if row is None:
        connection.execute(insert(attempts).values(key=key, failed=1, since=now))
        return 1, now + window
    if not 0 <= now - row.since < window:
        values = {"failed": 1, "since": now}
    else:
        values = {"failed": row.failed + 1, "since": row.since}
    connection.execute(update(attempts).where(attempts.c.key == key).values(values))
    return values["failed"], values["since"] + window


def forgive(connection: Connection, key: str) -> None:
    """Reset the count of *key*."""
    connection.execute(delete(attempts).where(attempts.c.key == key))


def uncount(connection: Connection, key: str) -> None:
    """Decrease the count of *key* by one."""
    columns = attempts.c
    one = update(attempts).where(columns.key == key, columns.failed > 0)
    connection.execute(one.values(failed=columns.failed - 1))


def is_known(connection: Connection, key: str, since: Micros) -> bool:
    """Return whether somebody has signed in under *key*, a name and an address, since then."""
    query = select(known_sources.c.key).where(known_sources.c.key == key)
    return connection.execute(query.where(known_sources.c.seen >= since)).first() is not None


def know(connection: Connection, key: str, name: str, now: Micros) -> None:
    """Record a sign-in under *key*; of each *name* the latest `MOST_KNOWN` addresses are kept."""
    lock(connection, int(key[:15], 16))
    columns = known_sources.c
    seen = update(known_sources).where(columns.key == key).values(seen=now)
    if connection.execute(seen).rowcount:
        return
    connection.execute(insert(known_sources).values(key=key, name=name, seen=now))
    kept = select(columns.key).where(columns.name == name)
    kept = kept.order_by(columns.seen.desc(), columns.key).limit(MOST_KNOWN)
    old = delete(known_sources).where(columns.name == name, columns.key.not_in(kept))
    connection.execute(old)


def forget_known(connection: Connection, name: str) -> None:
    """Delete all addresses of a name, given as its hash."""
    connection.execute(delete(known_sources).where(known_sources.c.name == name))


def tidy_known(connection: Connection, forgotten: Micros) -> None:
    """Delete addresses from which nobody has signed in since *forgotten*."""
    connection.execute(delete(known_sources).where(known_sources.c.seen < forgotten))


def delete_expired(connection: Connection, forgotten: Micros) -> None:
    """Delete windows that began before *forgotten*."""
    connection.execute(delete(attempts).where(attempts.c.since < forgotten))
