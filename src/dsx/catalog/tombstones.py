"""Blobs to be removed from the store. Inside the caller's transaction.

A tombstone is written in the transaction that drops a blob's last record, so a crash forgets none.
The bytes are deleted after it, outside of any transaction: that may take long. *begun* marks a
removal in progress.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, delete, insert, or_, select, update

from dsx.catalog.schema.content import tombstones
from dsx.core.digest import Digest
from dsx.core.model import Micros


def add(connection: Connection, digests: Iterable[Digest], due: Micros) -> None:
    """Schedule the removal of *digests* from *due* on, or at an earlier tombstone's time."""
    wanted = sorted(set(digests))
    known = set(
        connection.execute(
            select(tombstones.c.digest).where(tombstones.c.digest.in_(wanted))
        ).scalars()
    )
    rows = [{"digest": digest, "due": due} for digest in wanted if digest not in known]
    if rows:
        connection.execute(insert(tombstones), rows)
    if known:
        earlier = tombstones.c.digest.in_(known), tombstones.c.due > due
        connection.execute(update(tombstones).where(*earlier).values(due=due))


def due(connection: Connection, now: Micros, stale: Micros, limit: int) -> list[Digest]:
    """Return up to *limit* blobs that are due, except those begun after *stale*."""
    free = or_(tombstones.c.begun.is_(None), tombstones.c.begun <= stale)
    query = select(tombstones.c.digest).where(tombstones.c.due <= now, free)
    found = connection.execute(query.order_by(tombstones.c.due).limit(limit))
    return [Digest(digest) for digest in found.scalars()]


def begin(connection: Connection, digest: Digest, now: Micros) -> None:
    """Record that the removal of the blob, which is locked, begins at *now*."""
    changed = update(tombstones).where(tombstones.c.digest == digest).values(begun=now)
    if not connection.execute(changed).rowcount:
        connection.execute(insert(tombstones).values(digest=digest, due=now, begun=now))


def begun(connection: Connection, digest: Digest) -> Micros | None:
    """Return when a removal of the blob began; None if none is in progress."""
    query = select(tombstones.c.begun).where(tombstones.c.digest == digest)
    return connection.execute(query).scalar_one_or_none()


def drop(connection: Connection, digests: Sequence[Digest]) -> None:
    """Delete tombstones: the blobs are removed, or wanted again."""
    connection.execute(delete(tombstones).where(tombstones.c.digest.in_(digests)))
