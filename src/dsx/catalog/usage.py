"""Usage counters of owners. Inside the caller's transaction.

Triggers keep them (see the migration that makes them), so every change of a file or an upload is
counted in its own transaction. That locks the owner's row until the transaction ends, so all other
locks must be taken before.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from sqlalchemy import Connection, Select, delete, func, insert, select, union_all
from sqlalchemy.dialects import postgresql

from dsx.catalog.schema.content import files
from dsx.catalog.schema.transfers import tasks, uploads, usage
from dsx.catalog.tasks import is_living
from dsx.catalog.uploads import holds_bytes


class Usage(NamedTuple):
    """The usage of an owner.

    Attributes:
        bytes: of all versions, those in the trash included.
        files: number of those versions.
        staged: bytes received or reserved for unfinished uploads.
        reserved: of these, the ones reserved and not received.
        uploads: number of unfinished uploads.
        tasks: number of unfinished tasks, beside those of uploads.
    """

    bytes: int = 0
    files: int = 0
    staged: int = 0
    reserved: int = 0
    uploads: int = 0
    tasks: int = 0


_COLUMNS = [usage.c[name] for name in Usage._fields]


def of(connection: Connection, owner: str, *, lock: bool = False) -> Usage:
    """Return the owner's counters; *lock*: and lock them until this transaction ends."""
    query = select(*_COLUMNS).where(usage.c.owner == owner)
    if lock and connection.dialect.name == "postgresql":
        none = postgresql.insert(usage).values(owner=owner, **Usage()._asdict())
        connection.execute(none.on_conflict_do_nothing())  # so that there is a row to lock
        query = query.with_for_update()
    row = connection.execute(query).first()
    return Usage(*row) if row else Usage()


def reserved(connection: Connection) -> int:
    """Return the bytes reserved for all owners' uploads and not yet received."""
    query = select(func.coalesce(func.sum(usage.c.reserved), 0)).where(usage.c.reserved > 0)
    return int(connection.execute(query).scalar_one())


def wrong(connection: Connection) -> list[str]:
    """Return the owners whose counters are wrong: none, unless somebody edited them."""
    counted = _counted(connection)
    kept = {
        row.owner: Usage(*row[1:]) for row in connection.execute(select(usage.c.owner, *_COLUMNS))
    }
    return sorted(
        owner
        for owner in counted.keys() | kept.keys()
        if counted.get(owner, Usage()) != kept.get(owner, Usage())
    )


def recount(connection: Connection, owners: Iterable[str]) -> None:
    """Recompute the counters of *owners*; nobody else may write meanwhile."""
    counted = _counted(connection)
    for owner in owners:
        connection.execute(delete(usage).where(usage.c.owner == owner))
        values = counted.get(owner, Usage())._asdict()
        connection.execute(insert(usage).values(owner=owner, **values))


def _counted(connection: Connection) -> dict[str, Usage]:
    """Return the counters of all owners, computed from the counted rows."""
    zero = func.sum(0)
    of_files: Select[tuple[str, int]] = select(
        files.c.owner, func.sum(files.c.size), func.count(), zero, zero, zero, zero
    ).group_by(files.c.owner)
    of_uploads = select(
        uploads.c.owner,
        zero,
        zero,
        func.sum(uploads.c.counted),
        func.sum(uploads.c.reserved),
        func.count().filter(holds_bytes()),
        zero,
    ).group_by(uploads.c.owner)
    of_tasks = select(
        tasks.c.owner, zero, zero, zero, zero, zero, func.count().filter(is_living())
    ).group_by(tasks.c.owner)
    found: dict[str, Usage] = {}
    for row in connection.execute(union_all(of_files, of_uploads, of_tasks)):
        before = found.get(row[0], Usage())
        found[row[0]] = Usage(*(int(a) + int(b) for a, b in zip(before, row[1:], strict=True)))
    return found
