"""Which partial uploads are the chunks of one file. Inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, insert, select, update

from dsx.catalog.database import lock
from dsx.catalog.schema import chunk_sets, chunks, uploads
from dsx.core.digest import Digest
from dsx.core.model import Micros


@dataclass(frozen=True, slots=True)
class Chunk:
    """One chunk, as it was received; ``upload`` is the partial upload that has its bytes."""

    position: int
    upload: str
    size: int
    sha256: Digest


def lock_chunks(connection: Connection, key: str) -> None:
    """Keep every other transaction from changing this set of chunks until this one ends."""
    lock(connection, int(key[:15], 16))


def final_of(connection: Connection, key: str) -> str | None:
    """The id of the upload that joins the chunks of this set; None if there is no such set."""
    query = select(chunk_sets.c.final).where(chunk_sets.c.key == key)
    return connection.execute(query).scalar_one_or_none()


def staging_of(connection: Connection, key: str) -> str | None:
    """The staging directory that has the chunks of this set, which exists; None: not known."""
    query = select(chunk_sets.c.staging_id).where(chunk_sets.c.key == key)
    found: str | None = connection.execute(query).scalar_one()
    return found


def begin(connection: Connection, key: str, now: Micros, expires: Micros, **values: str) -> None:
    """Record a set that has no chunk yet: ``final``, and the ``staging_id`` they all come to."""
    row = {"key": key, "kept": now, "expires": expires, **values}
    connection.execute(insert(chunk_sets).values(row))


def rejoin(connection: Connection, key: str, final: str) -> None:
    """Have another upload join the chunks: the one before was dropped."""
    connection.execute(update(chunk_sets).where(chunk_sets.c.key == key).values(final=final))


def find(connection: Connection, key: str, position: int) -> Chunk | None:
    """The chunk at *position*, if it has come; its bytes may be gone since."""
    where = (chunks.c.key == key) & (chunks.c.position == position)
    row = connection.execute(select(chunks).where(where)).first()
    return None if row is None else Chunk(row.position, row.upload, row.size, Digest(row.sha256))


def add(connection: Connection, key: str, chunk: Chunk, expires: Micros) -> None:
    """Record a chunk where there is none; its upload is to wait until *expires* for the rest."""
    this = uploads.c.id == chunk.upload
    connection.execute(update(uploads).where(this).values(expires=expires))
    connection.execute(
        insert(chunks).values(
            key=key,
            position=chunk.position,
            upload=chunk.upload,
            size=chunk.size,
            sha256=chunk.sha256,
        )
    )


def drop(connection: Connection, key: str, position: int) -> None:
    """Forget a chunk, whose bytes are gone."""
    where = (chunks.c.key == key) & (chunks.c.position == position)
    connection.execute(delete(chunks).where(where))


def drop_lost(connection: Connection, key: str) -> int:
    """Forget the chunks whose uploads have been dropped; how many there were."""
    ready = select(uploads.c.id).where(
        uploads.c.id == chunks.c.upload, uploads.c.state == "finished"
    )
    lost = delete(chunks).where(chunks.c.key == key, ~ready.exists())
    return connection.execute(lost).rowcount


def extent(connection: Connection, key: str) -> tuple[int, int]:
    """How many chunks there are, and their bytes together."""
    query = select(func.count(), func.coalesce(func.sum(chunks.c.size), 0))
    count, size = connection.execute(query.where(chunks.c.key == key)).one()
    return int(count), int(size)


def parts(connection: Connection, key: str) -> Sequence[str]:
    """The chunks' uploads, in the order of the file."""
    query = select(chunks.c.upload).where(chunks.c.key == key).order_by(chunks.c.position)
    return connection.execute(query).scalars().all()


def keep(connection: Connection, key: str, now: Micros, expires: Micros, every: Micros) -> None:
    """Let the set live until *expires*, and its chunks' uploads at least as long.

    Those are told only once *every* so many microseconds, not at each of what may be 10,000 chunks;
    that is why they are given as much more time, then and in `add`.
    """
    this = chunk_sets.c.key == key
    connection.execute(update(chunk_sets).where(this).values(expires=expires))
    due = update(chunk_sets).where(this, chunk_sets.c.kept <= now - every).values(kept=now)
    if connection.execute(due).rowcount:
        _expire(connection, key, expires + every)


def release(connection: Connection, key: str, now: Micros) -> None:
    """Let what has expired be collected: the chunks' uploads are not needed any more."""
    _expire(connection, key, now)


def forget(connection: Connection, key: str) -> None:
    """Drop the record of a set and its chunks."""
    connection.execute(delete(chunks).where(chunks.c.key == key))
    connection.execute(delete(chunk_sets).where(chunk_sets.c.key == key))


def delete_expired(connection: Connection, now: Micros) -> None:
    """Forget the sets whose time is over; their chunks' uploads expire by themselves."""
    over = select(chunk_sets.c.key).where(chunk_sets.c.expires <= now)
    connection.execute(delete(chunks).where(chunks.c.key.in_(over)))
    connection.execute(delete(chunk_sets).where(chunk_sets.c.expires <= now))


def _expire(connection: Connection, key: str, expires: Micros) -> None:
    these = select(chunks.c.upload).where(chunks.c.key == key)
    connection.execute(
        update(uploads)
        .where(uploads.c.id.in_(these), uploads.c.state == "finished")
        .values(expires=expires)
    )
