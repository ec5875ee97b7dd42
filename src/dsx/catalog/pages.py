"""Reads versions of files, and pages of them, each with a cursor to the next."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, Text, cast, func, select, tuple_

from dsx.catalog import cursors
from dsx.catalog.matching import Matcher
from dsx.catalog.schema.content import blobs, files
from dsx.core.batches import in_batches
from dsx.core.digest import Digest
from dsx.core.model import FileVersion, Page

_SCAN = 2000
_SCAN_SECONDS = 1.0
_SCAN_WORK = 0.03
"""Seconds after which a page ends early, so that no pattern keeps a thread for long.

Its cursor continues there.
"""
_HEAVY = 2 * 1024 * 1024
"""Approximate maximum characters of metadata in one page."""
_LIGHT = 32
"""Pages of so few rows are never too heavy."""
_ALL = tuple(files.c)
BRIEF = tuple(column for column in files.c if column.name != "metadata")
"""Columns without metadata, which may be 64 KiB of each of thousands of versions."""


@dataclass(frozen=True, slots=True)
class Position:
    """Start and length of a page in a listing ordered by *pair*, (key, number)."""

    pair: tuple[ColumnElement[Any], ColumnElement[int]]
    sort: str
    cursor: str | None
    limit: int
    offset: int = 0


def page(
    connection: Connection,
    query: Select[Any],
    where: Position,
    matchers: Sequence[Matcher],
    *,
    brief: bool = False,
) -> Page:
    """Return one page of *query*, whose rows are (number, key, name).

    It ends early if its metadata would be megabytes. *brief*: without metadata.
    """
    deadline, work = time.monotonic() + _SCAN_SECONDS, 0.0
    chosen: list[Row[Any]] = []
    following = None
    for row in _rows(connection, query, where, where.limit + 1 if not matchers else _SCAN):
        begun = time.thread_time()
        matched = all(match(row.name) for match in matchers)
        work += time.thread_time() - begun
        if matched:
            if len(chosen) == where.limit:
                following = chosen[-1]
                break
            chosen.append(row)
        if matchers and (work > _SCAN_WORK or time.monotonic() > deadline):
            following = row
            break
    if not brief and len(chosen) > _LIGHT:
        room = _room(connection, [row.number for row in chosen])
        if room < len(chosen):
            chosen = chosen[:room]
            following = chosen[-1]
    cursor = following and cursors.encode(where.sort, following.key, following.number)
    columns = BRIEF if brief else _ALL
    return Page(_in_order(connection, [row.number for row in chosen], columns), cursor)


def _room(connection: Connection, numbers: Sequence[int]) -> int:
    """Return how many of *numbers*, from the first on, fit into a page; one at least."""
    size = func.length(cast(files.c.metadata, Text))
    sizes: dict[int, int] = {}
    for batch in in_batches(numbers):
        query = select(files.c.number, size.label("size")).where(files.c.number.in_(batch))
        sizes.update({row.number: row.size for row in connection.execute(query)})
    left = _HEAVY
    for count, number in enumerate(numbers):
        left -= sizes[number]
        if left < 0:
            return max(1, count)
    return len(numbers)


def _rows(
    connection: Connection, query: Select[Any], where: Position, batch: int
) -> Iterator[Row[Any]]:
    """Yield the rows of *query* from the position on, fetched *batch* at a time."""
    down = where.sort.startswith("-")
    part = query.order_by(*(column.desc() if down else column for column in where.pair)).limit(
        batch
    )
    position = cursors.decode(where.cursor, where.sort) if where.cursor else None
    first = part.offset(where.offset)
    while True:
        edge = tuple_(*where.pair), tuple_(*position or ())
        beyond = edge[0] < edge[1] if down else edge[0] > edge[1]
        rows = connection.execute(part.where(beyond) if position else first).all()
        yield from rows
        if len(rows) < batch:
            return
        position = rows[-1].key, rows[-1].number


def _in_order(
    connection: Connection, numbers: Sequence[int], columns: Sequence[ColumnElement[Any]]
) -> list[FileVersion]:
    found = read(connection, records(columns).where(files.c.number.in_(numbers)))
    by_its_number = {version.number: version for version in found}
    return [by_its_number[number] for number in numbers]


def records(columns: Sequence[ColumnElement[Any]] = _ALL) -> Select[Any]:
    """Return the query for `read`, without a condition."""
    return select(*columns, blobs.c.crc32, blobs.c.damaged).join(
        blobs, blobs.c.digest == files.c.sha256
    )


def read(connection: Connection, query: Select[Any]) -> list[FileVersion]:
    """Return the versions that *query*, of `records`, selects."""
    return [_version(row) for row in connection.execute(query)]


def _version(row: Row[Any]) -> FileVersion:
    return FileVersion(
        id=row.id,
        number=row.number,
        file=row.file,
        version=row.version,
        latest=row.latest,
        owner=row.owner,
        name=row.name,
        category=row.category,
        content_type=row.content_type,
        size=row.size,
        sha256=Digest(row.sha256),
        crc32=row.crc32,
        created=row.created,
        metadata=getattr(row, "metadata", {}),
        tags=tuple(row.tags),
        trashed=row.trashed,
        expires=row.expires,
        damaged=row.damaged is not None,
    )
