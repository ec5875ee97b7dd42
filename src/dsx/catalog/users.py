"""Accounts. Functions run inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import uuid_utils
from sqlalchemy import Connection, RowMapping, Select, bindparam, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from dsx.catalog.database import lock
from dsx.catalog.schema.accounts import users
from dsx.core.batches import in_batches
from dsx.core.errors import AlreadyExists
from dsx.core.model import Micros
from dsx.core.principals import Role, User

_LOCK = 0x75736572  # "user"


# Run at many requests, so they are built once: building takes longer than running.
_BY_NAME, _BY_ID, _BY_SUBJECT = (
    select(users).where(column == bindparam("shown"))
    for column in (users.c.key, users.c.id, users.c.subject)
)


def key_of(name: str) -> str:
    """Return the name for comparisons, which ignore case."""
    return name.casefold()


def lock_users(connection: Connection) -> None:
    """Exclude other transactions from creating accounts until this one ends."""
    lock(connection, _LOCK)


def add(
    connection: Connection,
    name: str,
    role: Role,
    password: str | None,
    now: Micros,
    *,
    subject: str | None = None,
) -> User:
    """Create an account; `AlreadyExists` if the name is taken."""
    values = {
        "id": str(uuid_utils.uuid7()),
        "name": name,
        "key": key_of(name),
        "role": role,
        "password": password,
        "subject": subject,
        "disabled": False,
        "generation": 1,
        "created": now,
    }
    try:
        with connection.begin_nested():
            made = connection.execute(insert(users).values(values).returning(users))
            row = made.mappings().one()
    except IntegrityError:
        raise AlreadyExists(f"A user named {name!r} already exists.") from None
    return of(row)


def find(connection: Connection, name: str) -> User | None:
    """Return the user of that name, in any case."""
    return _one(connection, _BY_NAME, key_of(name))


def by_id(connection: Connection, id_: str) -> User | None:
    """Return the user with that id."""
    return _one(connection, _BY_ID, id_)


def by_subject(connection: Connection, subject: str) -> User | None:
    """Return the user of *subject* at the external provider."""
    return _one(connection, _BY_SUBJECT, subject)


def page(connection: Connection, after: int, limit: int) -> Sequence[User]:
    """Return users with numbers greater than *after*, in their order."""
    query = select(users).where(users.c.number > after).order_by(users.c.number).limit(limit)
    return [of(row) for row in connection.execute(query).mappings()]


def change(connection: Connection, user: User, values: dict[str, Any], *, ends: bool) -> User:
    """Set columns of an account; *ends*: issued signed tokens end."""
    if ends:
        values = {**values, "generation": user.generation + 1}
    statement = update(users).where(users.c.id == user.id).values(values).returning(users)
    return of(connection.execute(statement).mappings().one())


def names(connection: Connection, ids: Sequence[str]) -> dict[str, str]:
    """Return the names of users, by id."""
    found: dict[str, str] = {}
    for batch in in_batches(ids):
        some = users.c.id.in_(batch)
        rows = connection.execute(select(users.c.id, users.c.name).where(some))
        found.update({row.id: row.name for row in rows})
    return found


def count(connection: Connection) -> int:
    """Return the number of accounts."""
    return connection.execute(select(func.count()).select_from(users)).scalar_one()


def quota(connection: Connection, owner: str) -> tuple[int | None, int | None]:
    """Return the owner's own quotas in bytes and files; None: it has none."""
    query = select(users.c.quota_bytes, users.c.quota_files).where(users.c.id == owner)
    row = connection.execute(query).first()
    return (row.quota_bytes, row.quota_files) if row else (None, None)


def _one(connection: Connection, query: Select[Any], shown: str) -> User | None:
    row = connection.execute(query, {"shown": shown}).mappings().first()
    return of(row) if row is not None else None


def of(row: RowMapping | Mapping[str, Any]) -> User:
    """Return the user in a row of the table."""
    return User(
        id=row["id"],
        number=row["number"],
        name=row["name"],
        role=row["role"],
        password=row["password"],
        quota_bytes=row["quota_bytes"],
        quota_files=row["quota_files"],
        disabled=bool(row["disabled"]),
        generation=row["generation"],
        created=row["created"],
    )
