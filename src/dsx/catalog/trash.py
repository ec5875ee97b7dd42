"""The trash: whole files, and versions deleted alone.

Versions deleted together have one ``trashed`` time, and the newest of them is marked ``latest``,
like the newest live one. That pair, file and time, is a `Deleted`: it is listed as one entry,
expires and is dropped as one. A version can also be restored or dropped alone; whenever some of a
file's versions are added or removed, the marks are set anew. Functions run inside the caller's
transaction, which has locked the owner.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    delete,
    exists,
    func,
    select,
    text,
    tuple_,
    update,
)
from sqlalchemy.exc import IntegrityError

from dsx.catalog import blobs, labels, pages
from dsx.catalog.schema.content import files
from dsx.core.digest import Digest
from dsx.core.errors import AlreadyExists, NotFound
from dsx.core.model import FileVersion, Micros, Page
from dsx.core.principals import ResourceScopes

TRASHED = text("trashed IS NOT NULL")


class Deleted(NamedTuple):
    """Versions of one file that were deleted together."""

    file: str
    trashed: Micros


def put_file(connection: Connection, file: str, now: Micros, expires: Micros) -> None:
    """Move the live versions of a file to the trash."""
    live = (files.c.file == file, files.c.trashed.is_(None))
    connection.execute(update(files).where(*live).values(trashed=now, expires=expires))
    labels.refresh(connection, file)


def put_version(connection: Connection, version: FileVersion, now: Micros, expires: Micros) -> None:
    """Move one live version to the trash; if it was the newest, the one before it now is."""
    mine = files.c.number == version.number
    connection.execute(update(files).where(mine).values(trashed=now, expires=expires, latest=False))
    _mark(connection, version.file, None)
    _mark(connection, version.file, now)
    labels.refresh(connection, version.file)


def restore(connection: Connection, version: FileVersion, *, alone: bool = False) -> None:
    """Restore everything deleted with *version*, if that is the newest of it; else it *alone*.

    `AlreadyExists` if another live file of its owner has its name.
    """
    where = _concerned(version, alone=alone)
    back = update(files).where(*where).values(trashed=None, expires=None, latest=False)
    restored = connection.execute(back).rowcount
    if not restored:
        raise NotFound(f"{version.name!r} was just deleted from the trash.")
    try:
        _mark(connection, version.file, None)
    except IntegrityError:
        raise AlreadyExists(
            "A file of that name already exists: restore under another name."
        ) from None
    _mark(connection, version.file, version.trashed)
    labels.refresh(connection, version.file)


def drop(connection: Connection, version: FileVersion) -> list[Digest]:
    """Delete what `restore` would bring back; returns its digests."""
    found = _forget(connection, _concerned(version))
    _mark(connection, version.file, version.trashed)
    return found


def drop_deleted(connection: Connection, chosen: Sequence[Deleted]) -> list[Digest]:
    """Delete all versions of each of *chosen*; returns their digests."""
    if not chosen:
        return []
    return _forget(connection, (tuple_(files.c.file, files.c.trashed).in_(chosen),))


def expired(connection: Connection, now: Micros, limit: int) -> list[Deleted]:
    """Return expired entries of the trash."""
    return _deleted(connection, (files.c.expires <= now,), (files.c.expires,), limit)


def page(
    connection: Connection, owner: str, limit: int, before: Micros, places: ResourceScopes = None
) -> list[Deleted]:
    """Return the owner's trash since *before*, of files whose versions all lie in *places*."""
    where = _in_trash(owner, before, places)
    return _deleted(connection, where, (files.c.trashed, files.c.number), limit)


def list_deleted(
    connection: Connection,
    owner: str,
    limit: int,
    cursor: str | None,
    places: ResourceScopes = None,
) -> Page:
    """Return the newest version of each file in the trash, latest deletion first."""
    query = select(files.c.number, files.c.trashed.label("key"), files.c.name).where(
        TRASHED, files.c.latest, files.c.owner == owner, *labels.versions_within(places)
    )
    where = pages.Position((files.c.trashed, files.c.number), "-trashed", cursor, limit)
    return pages.page(connection, query, where, [])


def count(connection: Connection, owner: str, before: Micros, places: ResourceScopes = None) -> int:
    """Return how many entries `page` finds in all."""
    query = select(func.count()).select_from(files).where(*_in_trash(owner, before, places))
    return int(connection.execute(query.where(files.c.latest)).scalar_one())


def has_live(connection: Connection, file: str, besides: int) -> bool:
    """Return whether a file has a live version other than number *besides*."""
    other = (files.c.file == file, files.c.trashed.is_(None), files.c.number != besides)
    return bool(connection.execute(select(exists().where(*other))).scalar())


def _in_trash(owner: str, before: Micros, places: ResourceScopes) -> list[ColumnElement[bool]]:
    mine = files.c.owner == owner, files.c.trashed <= before
    return [*mine, *labels.wholly_within(places)]


def _deleted(
    connection: Connection,
    where: Sequence[ColumnElement[bool]],
    order: Sequence[ColumnElement[int]],
    limit: int,
) -> list[Deleted]:
    query = select(files.c.file, files.c.trashed).where(TRASHED, files.c.latest, *where)
    rows = connection.execute(query.order_by(*order).limit(limit))
    return [Deleted(row.file, row.trashed) for row in rows]


def _concerned(version: FileVersion, *, alone: bool = False) -> tuple[ColumnElement[bool], ...]:
    if version.latest and not alone:
        return files.c.file == version.file, files.c.trashed == version.trashed
    return files.c.number == version.number, files.c.trashed == version.trashed


def _forget(connection: Connection, where: Sequence[ColumnElement[bool]]) -> list[Digest]:
    """Delete rows after locking their blobs; returns their digests."""
    had = select(files.c.sha256).where(TRASHED, *where)
    blobs.claim_all(connection, [Digest(one) for one in connection.execute(had).scalars()])
    rows = connection.execute(delete(files).where(TRASHED, *where).returning(files.c.sha256))
    return [Digest(digest) for digest in rows.scalars()]


def _mark(connection: Connection, file: str, trashed: Micros | None) -> None:
    """Set ``latest`` for the newest live version of a file, or the newest *trashed* then."""
    same = files.c.trashed.is_(None) if trashed is None else files.c.trashed == trashed
    newest = select(func.max(files.c.version)).where(files.c.file == file, same)
    number = connection.execute(newest).scalar()
    # Clear the old mark first: only one live version of a name may be the newest.
    for latest in (False, True):
        which = files.c.version == number if latest else files.c.version != number
        change = update(files).where(files.c.file == file, same, which, files.c.latest != latest)
        connection.execute(change.values(latest=latest))
