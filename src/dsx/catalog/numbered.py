"""Queries for listings with numbered pages. Inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, func, select

from dsx.catalog import labels
from dsx.catalog.schema.content import file_labels, files
from dsx.core.model import Micros
from dsx.core.principals import ResourceScope


def earlier(
    connection: Connection,
    of: Sequence[str],
    limit: int,
    places: Sequence[ResourceScope] | None = None,
) -> dict[str, list[tuple[str, Micros]]]:
    """Return ids and times of the versions before the newest of each of the files *of*.

    Those in *places*, newest first, at most *limit* of each file; one query for all files.
    """
    newest = files.alias()
    query = (
        select(files.c.file, files.c.id, files.c.created)
        .join(newest, (newest.c.file == files.c.file) & newest.c.latest)
        .where(
            newest.c.trashed.is_(None),
            files.c.trashed.is_(None),
            files.c.file.in_(of),
            files.c.version < newest.c.version,
            files.c.version >= newest.c.version - limit,
            *labels.versions_within(places),
        )
        .order_by(files.c.file, files.c.version.desc())
    )
    found: dict[str, list[tuple[str, Micros]]] = {file: [] for file in of}
    for row in connection.execute(query):
        found[row.file].append((row.id, row.created))
    return found


def count_live(connection: Connection, owner: str, places: Sequence[ResourceScope] | None) -> int:
    """Return the number of live files of the owner in *places*."""
    rows = file_labels.c
    query = select(func.count()).where(rows.owner == owner, rows.label == labels.EVERY)
    query = query.where(*labels.within(places))
    return int(connection.execute(query).scalar_one())
