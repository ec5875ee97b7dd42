"""The blobs the catalog knows of. A blob is referred to by the versions that have its digest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, delete, exists, insert, select, union

from dsx.catalog.engine import lock
from dsx.catalog.schema import blobs, files, uploads
from dsx.core.digest import Digest
from dsx.core.model import BlobInfo, Micros


def claim(connection: Connection, digest: Digest) -> None:
    """Keep every other transaction from adding or removing this blob until this one ends.

    All blobs whose digests begin alike are claimed at once: a transaction that drops any number of
    them holds at most 256 locks, of which PostgreSQL has a few thousand for all its clients.
    """
    lock(connection, int(digest[:2], 16))


def add(connection: Connection, blob: BlobInfo, now: Micros) -> None:
    """Record a sealed blob, unless it is known."""
    known = select(blobs.c.digest).where(blobs.c.digest == blob.digest)
    if connection.execute(known).first() is None:
        connection.execute(
            insert(blobs).values(digest=blob.digest, size=blob.size, crc32=blob.crc32, created=now)
        )


def drop_unreferenced(connection: Connection, digests: Iterable[Digest]) -> list[Digest]:
    """Forget those of *digests* that no version has; they are returned."""
    dropped = []
    for digest in sorted(set(digests)):
        claim(connection, digest)
        orphan = blobs.c.digest == digest, ~exists().where(files.c.sha256 == digest)
        if connection.execute(delete(blobs).where(*orphan)).rowcount:
            dropped.append(digest)
    return dropped


def get(connection: Connection, digest: Digest) -> BlobInfo | None:
    """The blob's record, if there is one."""
    row = connection.execute(select(blobs).where(blobs.c.digest == digest)).first()
    return BlobInfo(Digest(row.digest), row.size, row.crc32) if row else None


def unknown(connection: Connection, digests: Sequence[Digest]) -> list[Digest]:
    """Those of *digests* that have no record, and that no open upload may have been sealed into."""
    sealing = uploads.c.digest.in_(digests), uploads.c.state == "open"
    found = union(
        select(blobs.c.digest).where(blobs.c.digest.in_(digests)),
        select(uploads.c.digest).where(*sealing),
    )
    known = set(connection.execute(found).scalars())
    return [digest for digest in digests if digest not in known]


def page(connection: Connection, after: str, limit: int) -> list[tuple[Digest, int]]:
    """Digests greater than *after* with their sizes, ascending."""
    query = (
        select(blobs.c.digest, blobs.c.size)
        .where(blobs.c.digest > after)
        .order_by(blobs.c.digest)
        .limit(limit)
    )
    return [(Digest(row.digest), row.size) for row in connection.execute(query)]
