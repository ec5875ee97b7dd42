"""Failed sign-ins, counted, so that servers together let through no more than one would."""

from __future__ import annotations

from sqlalchemy import Connection, delete, insert, select, update

from dsx.catalog.engine import lock
from dsx.catalog.schema import attempts
from dsx.core.model import Micros


def note(connection: Connection, key: str, now: Micros, window: Micros) -> tuple[int, Micros]:
    """Count one more under *key*; how many there were within the window, and when it ends."""
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
    """Forget what was counted under *key*."""
    connection.execute(delete(attempts).where(attempts.c.key == key))


def uncount(connection: Connection, key: str) -> None:
    """Take back one that was counted under *key*."""
    columns = attempts.c
    one = update(attempts).where(columns.key == key, columns.failed > 0)
    connection.execute(one.values(failed=columns.failed - 1))


def tidy(connection: Connection, forgotten: Micros) -> None:
    """Forget windows that began before that instant."""
    connection.execute(delete(attempts).where(attempts.c.since < forgotten))
