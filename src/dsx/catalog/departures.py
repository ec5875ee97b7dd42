"""Removes the data of deleted accounts. Functions run inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from sqlalchemy import Connection, delete, insert, or_, select, update

from dsx.catalog import files as file_records
from dsx.catalog import labels
from dsx.catalog import trash as trash_records
from dsx.catalog.schema.accounts import departed, shares, tokens, users
from dsx.catalog.schema.base import LIVE
from dsx.catalog.schema.content import files
from dsx.catalog.schema.transfers import tasks, uploads
from dsx.catalog.tasks import LIVING
from dsx.core.model import Micros


def end_credentials(connection: Connection, owner: str) -> None:
    """Delete the tokens, sessions and invitations of *owner*, and shares by and with it."""
    connection.execute(delete(tokens).where(tokens.c.owner == owner))
    shared = or_(shares.c.owner == owner, shares.c.grantee == owner)
    connection.execute(delete(shares).where(shared))


def under_way(connection: Connection, owner: str) -> tuple[list[str], list[str], list[str]]:
    """Return the ids of the owner's open uploads, waiting partials, and unfinished tasks."""
    mine = select(uploads.c.id).where(uploads.c.owner == owner)
    waiting = (uploads.c.kind == "partial") & (uploads.c.state == "finished")
    living = select(tasks.c.id).where(tasks.c.owner == owner, tasks.c.state.in_(LIVING))
    queries = (mine.where(uploads.c.state == "open"), mine.where(waiting), living)
    found = [list(connection.execute(query).scalars()) for query in queries]
    return found[0], found[1], found[2]


def left(connection: Connection, owner: str, limit: int) -> Sequence[str]:
    """Return files of *owner* that have versions, live or in the trash."""
    query = select(files.c.file).where(files.c.owner == owner).distinct().limit(limit)
    return connection.execute(query).scalars().all()


def hand_over(
    connection: Connection, file: str, heir: str, names: Callable[[str], Sequence[str]]
) -> None:
    """Give all versions of a file to the heir; live ones under a name that is free.

    *names* returns the candidates for the current name.
    """
    mine = files.c.file == file
    live = connection.execute(select(files.c.name).where(LIVE, mine)).scalar_one_or_none()
    values = {"owner": heir}
    if live is not None:
        taken = partial(file_records.find, connection, heir)
        values["name"] = next((name for name in names(live) if taken(name) is None), file)
    connection.execute(update(files).where(mine).values(values))
    labels.refresh(connection, file)


def trash(connection: Connection, file: str, keeper: str, now: Micros, expires: Micros) -> None:
    """Move all versions of a file to the keeper's trash, until *expires* at most."""
    mine = files.c.file == file
    sooner = mine & files.c.trashed.is_not(None) & (files.c.expires > expires)
    connection.execute(update(files).where(sooner).values(expires=expires))
    # Trash first: live ones would collide with the keeper's file of the same name.
    trash_records.put_file(connection, file, now, expires)
    connection.execute(update(files).where(mine).values(owner=keeper))


def remove(connection: Connection, id_: str) -> None:
    """Delete an account, except its name, under which the audit log has its entries."""
    columns = [users.c.id, users.c.name, users.c.key]
    left_behind = select(*columns).where(users.c.id == id_)
    connection.execute(insert(departed).from_select([one.name for one in columns], left_behind))
    connection.execute(delete(users).where(users.c.id == id_))
