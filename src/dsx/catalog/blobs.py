"""The blobs in the catalog. A blob is referenced by the versions that have its digest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, delete, exists, func, insert, select, union, update

from dsx.catalog.database import lock
from dsx.catalog.schema.content import blobs, files
from dsx.catalog.schema.transfers import uploads
from dsx.core.batches import in_batches
from dsx.core.digest import Digest
from dsx.core.model import BlobInfo, Damage, Micros


def lock_blob(connection: Connection, digest: Digest) -> None:
    """Exclude every other transaction from adding or removing this blob until this one ends.

    All blobs whose digests begin alike are locked together: a transaction that drops any number of
    them holds at most 256 locks, of which PostgreSQL has a few thousand for all its clients.
    """
    lock(connection, int(digest[:2], 16))


def claim_all(connection: Connection, digests: Iterable[Digest]) -> None:
    """Call `lock_blob` for each of *digests*, in the global order."""
    first = {digest[:2]: digest for digest in digests}
    for _, digest in sorted(first.items()):
        lock_blob(connection, digest)


def add(connection: Connection, blob: BlobInfo, now: Micros) -> None:
    """Record a blob that was just sealed, which also clears any damage."""
    same = blobs.c.digest == blob.digest
    values = {"created": now, "damaged": None, "damage": None}
    if not connection.execute(update(blobs).where(same).values(values)).rowcount:
        connection.execute(
            insert(blobs).values(digest=blob.digest, size=blob.size, crc32=blob.crc32, created=now)
        )


def drop_unreferenced(connection: Connection, digests: Iterable[Digest]) -> list[Digest]:
    """Delete those of *digests* that no version has; returns them."""
    wanted = sorted(set(digests))
    claim_all(connection, wanted)
    dropped: list[Digest] = []
    for batch in in_batches(wanted):
        some = blobs.c.digest.in_(batch)
        orphan = ~exists().where(files.c.sha256 == blobs.c.digest)
        gone = delete(blobs).where(some, orphan).returning(blobs.c.digest)
        dropped += [Digest(digest) for digest in connection.execute(gone).scalars()]
    return sorted(dropped)


def get(connection: Connection, digest: Digest) -> BlobInfo | None:
    """Return the blob's record, if there is one and its bytes are not known to be damaged."""
    intact = blobs.c.digest == digest, blobs.c.damaged.is_(None)
    row = connection.execute(select(blobs).where(*intact)).first()
    return BlobInfo(Digest(row.digest), row.size, row.crc32) if row else None


def unknown(connection: Connection, digests: Sequence[Digest]) -> list[Digest]:
    """Return those of *digests* without a record that no open upload may have been sealed into."""
    sealing = uploads.c.digest.in_(digests), uploads.c.state == "open"
    found = union(
        select(blobs.c.digest).where(blobs.c.digest.in_(digests)),
        select(uploads.c.digest).where(*sealing),
    )
    known = set(connection.execute(found).scalars())
    return [digest for digest in digests if digest not in known]


Recorded = tuple[Digest, int, Micros, str | None]
"""Digest, size, time of sealing, and the known damage."""


def page(connection: Connection, after: str, limit: int) -> list[Recorded]:
    """Return blobs with digests greater than *after*, ascending."""
    columns = blobs.c.digest, blobs.c.size, blobs.c.created, blobs.c.damage
    query = select(*columns).where(blobs.c.digest > after).order_by(blobs.c.digest).limit(limit)
    return [
        (Digest(row.digest), row.size, row.created, row.damage) for row in connection.execute(query)
    ]


def totals(connection: Connection) -> tuple[int, int]:
    """Return the number of blobs, and their total bytes."""
    query = select(func.count(), func.coalesce(func.sum(blobs.c.size), 0)).select_from(blobs)
    number, size = connection.execute(query).one()
    return number, int(size)


def to_check(connection: Connection, after: str, limit: int) -> list[tuple[Digest, int, Micros]]:
    """Return digest, size and sealing time of undamaged blobs greater than *after*."""
    query = (
        select(blobs.c.digest, blobs.c.size, blobs.c.created)
        .where(blobs.c.digest > after, blobs.c.damaged.is_(None))
        .order_by(blobs.c.digest)
        .limit(limit)
    )
    return [(Digest(row.digest), row.size, row.created) for row in connection.execute(query)]


def mark(connection: Connection, digest: Digest, sealed: Micros, damage: str, now: Micros) -> bool:
    """Mark the bytes sealed at *sealed* as damaged; False if they have been replaced."""
    same = blobs.c.digest == digest, blobs.c.created == sealed, blobs.c.damaged.is_(None)
    values = {"damaged": now, "damage": damage}
    return connection.execute(update(blobs).where(*same).values(values)).rowcount > 0


def clear(connection: Connection, digest: Digest, now: Micros) -> None:
    """Clear the damage: the right bytes have been stored again."""
    values = {"created": now, "damaged": None, "damage": None}
    connection.execute(update(blobs).where(blobs.c.digest == digest).values(values))


def damaged(connection: Connection, after: str, limit: int) -> list[Damage]:
    """Return damaged blobs greater than *after*, ascending."""
    query = (
        select(blobs)
        .where(blobs.c.digest > after, blobs.c.damaged.is_not(None))
        .order_by(blobs.c.digest)
        .limit(limit)
    )
    return [
        Damage(Digest(row.digest), row.size, row.damage, row.damaged)
        for row in connection.execute(query)
    ]


def damaged_of(connection: Connection, digests: Sequence[Digest]) -> set[Digest]:
    """Return those of *digests* that are damaged."""
    query = select(blobs.c.digest).where(blobs.c.digest.in_(digests), blobs.c.damaged.is_not(None))
    return {Digest(digest) for digest in connection.execute(query).scalars()}


def count_damaged(connection: Connection) -> int:
    """Return the number of damaged blobs."""
    query = select(func.count()).select_from(blobs).where(blobs.c.damaged.is_not(None))
    return connection.execute(query).scalar_one()
