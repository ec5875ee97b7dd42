"""What is in an owner's trash, to be dropped. Inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, func, select

from dsx.catalog import labels
from dsx.catalog.schema import files
from dsx.core.digest import Digest
from dsx.core.model import Micros
from dsx.core.principals import Place


def page(
    connection: Connection,
    owner: str,
    limit: int,
    before: Micros,
    places: Sequence[Place] | None = None,
) -> list[str]:
    """Files in the owner's trash since *before*, those all versions of which lie in *places*."""
    query = select(files.c.file).where(*_in_trash(owner, before, places))
    query = query.order_by(files.c.trashed, files.c.number).limit(limit)  # as the index has them
    return list(connection.execute(query).scalars())


def count(
    connection: Connection, owner: str, before: Micros, places: Sequence[Place] | None = None
) -> int:
    """How many files `page` finds in all."""
    query = select(func.count()).select_from(files).where(*_in_trash(owner, before, places))
    return connection.execute(query).scalar_one()


def digests(connection: Connection, chosen: Sequence[str]) -> list[Digest]:
    """The digests of all versions of the files *chosen*, which are in the trash."""
    query = select(files.c.sha256).where(files.c.file.in_(chosen), files.c.trashed.is_not(None))
    return [Digest(digest) for digest in connection.execute(query).scalars()]


def _in_trash(
    owner: str, before: Micros, places: Sequence[Place] | None
) -> list[ColumnElement[bool]]:
    return [
        files.c.owner == owner,
        files.c.trashed <= before,
        files.c.latest,
        *labels.wholly_within(places),
    ]
