"""What an account leaves behind. Functions run inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, delete, or_, select, update

from dsx.catalog import files as file_records
from dsx.catalog import labels
from dsx.catalog import trash as trash_records
from dsx.catalog.schema import files, shares, tasks, tokens, uploads, users
from dsx.catalog.tasks import LIVING
from dsx.core.model import Micros


class Left(NamedTuple):
    """A file without its account."""

    file: str
    name: str
    trashed: Micros | None


def end_credentials(connection: Connection, owner: str) -> None:
    """Forget the tokens, sessions and invitations of *owner*, what it shares, what others share."""
    connection.execute(delete(tokens).where(tokens.c.owner == owner))
    shared = or_(shares.c.owner == owner, shares.c.grantee == owner)
    connection.execute(delete(shares).where(shared))


def under_way(connection: Connection, owner: str) -> tuple[list[str], list[str], list[str]]:
    """Ids of the owner's open uploads, of its partials that wait to be joined, of its tasks."""
    mine = select(uploads.c.id).where(uploads.c.owner == owner)
    waiting = (uploads.c.kind == "partial") & (uploads.c.state == "finished")
    living = select(tasks.c.id).where(tasks.c.owner == owner, tasks.c.state.in_(LIVING))
    queries = (mine.where(uploads.c.state == "open"), mine.where(waiting), living)
    found = [list(connection.execute(query).scalars()) for query in queries]
    return found[0], found[1], found[2]


def left(connection: Connection, owner: str, limit: int) -> Sequence[Left]:
    """Files of *owner*, live or in the trash, oldest first."""
    query = select(files.c.file, files.c.name, files.c.trashed)
    query = query.where(files.c.owner == owner, files.c.latest).order_by(files.c.number)
    return [Left(*row) for row in connection.execute(query.limit(limit))]


def hand_over(connection: Connection, one: Left, heir: str, names: Sequence[str]) -> None:
    """Let a file be the heir's, under the first of *names* that it has no live file of."""
    name = one.name
    if one.trashed is None:
        name = next(
            (name for name in names if file_records.find(connection, heir, name) is None), one.file
        )
    mine = files.c.file == one.file
    connection.execute(update(files).where(mine).values(owner=heir, name=name))
    labels.refresh(connection, one.file)


def trash(connection: Connection, one: Left, keeper: str, now: Micros, expires: Micros) -> None:
    """Let a file be in the keeper's trash, until *expires* at most."""
    mine = files.c.file == one.file
    connection.execute(update(files).where(mine).values(owner=keeper))
    if one.trashed is None:
        trash_records.trash(connection, one.file, now, expires)
    else:
        sooner = mine & (files.c.expires > expires)
        connection.execute(update(files).where(sooner).values(expires=expires))


def remove(connection: Connection, id_: str) -> None:
    """Forget an account."""
    connection.execute(delete(users).where(users.c.id == id_))
