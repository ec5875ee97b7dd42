"""The chunks of files and their partial uploads. Inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, insert, select, update

from dsx.catalog.database import lock
from dsx.catalog.schema.transfers import chunk_sets, chunks, uploads
from dsx.core.digest import Digest
from dsx.core.model import Micros


@dataclass(frozen=True, slots=True)
class Chunk:
    """A received chunk; ``upload`` is the partial upload that has its bytes."""

    position: int
    upload: str
    size: int
    sha256: Digest


def lock_chunks(connection: Connection, key: str) -> None:
    """Exclude every other transaction from changing this set of chunks until this one ends."""
    lock(connection, int(key[:15], 16))


def final_of(connection: Connection, key: str) -> str | None:
    """Return the id of the upload that joins the chunks of this set; None without such a set."""
    query = select(chunk_sets.c.final).where(chunk_sets.c.key == key)
    return connection.execute(query).scalar_one_or_none()


def staging_of(connection: Connection, key: str) -> str | None:
    """Return the staging directory of the chunks of this set, which exists; None: unknown."""
    query = select(chunk_sets.c.staging_id).where(chunk_sets.c.key == key)
    found: str | None = connection.execute(query).scalar_one()
    return found


def begin(connection: Connection, key: str, now: Micros, expires: Micros, **values: str) -> None:
    """Record a set without chunks: its ``final``, and the ``staging_id`` of all its chunks."""
    row = {"key": key, "kept": now, "expires": expires, **values}
    connection.execute(insert(chunk_sets).values(row))


def rejoin(connection: Connection, key: str, final: str) -> None:
    """Replace the upload that joins the chunks: the previous one was dropped."""
    connection.execute(update(chunk_sets).where(chunk_sets.c.key == key).values(final=final))


def find(connection: Connection, key: str, position: int) -> Chunk | None:
    """Return the chunk at *position*, if received; its bytes may be gone since."""
    where = (chunks.c.key == key) & (chunks.c.position == position)
    row = connection.execute(select(chunks).where(where)).first()
    return None if row is None else Chunk(row.position, row.upload, row.size, Digest(row.sha256))


def add(connection: Connection, key: str, chunk: Chunk, expires: Micros) -> None:
    """Record a new chunk; its upload waits until *expires* for the rest."""
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
    """Delete a chunk whose bytes are gone."""
    where = (chunks.c.key == key) & (chunks.c.position == position)
    connection.execute(delete(chunks).where(where))


def drop_lost(connection: Connection, key: str) -> int:
    """Delete the chunks whose uploads have been dropped; returns how many."""
    ready = select(uploads.c.id).where(
        uploads.c.id == chunks.c.upload, uploads.c.state == "finished"
    )
    lost = delete(chunks).where(chunks.c.key == key, ~ready.exists())
    return connection.execute(lost).rowcount


def extent(connection: Connection, key: str) -> tuple[int, int]:
    """Return the number of chunks, and their total bytes."""
    query = select(func.count(), func.coalesce(func.sum(chunks.c.size), 0))
    count, size = connection.execute(query.where(chunks.c.key == key)).one()
    return int(count), int(size)


def parts(connection: Connection, key: str) -> Sequence[str]:
    """Return the chunks' uploads, in the order of the file."""
    query = select(chunks.c.upload).where(chunks.c.key == key).order_by(chunks.c.position)
    return connection.execute(query).scalars().all()


def keep(connection: Connection, key: str, now: Micros, expires: Micros, every: Micros) -> None:
    """Extend the set until *expires*, and its chunks' uploads at least as long.

    The uploads, up to 10,000, are only updated once *every* so many microseconds, not at each
    chunk; so they get that much more time, here and in `add`.
    """
    this = chunk_sets.c.key == key
    connection.execute(update(chunk_sets).where(this).values(expires=expires))
    due = update(chunk_sets).where(this, chunk_sets.c.kept <= now - every).values(kept=now)
    if connection.execute(due).rowcount:
        _expire(connection, key, expires + every)


def release(connection: Connection, key: str, now: Micros) -> None:
    """Let the chunks' uploads expire: they are not needed any more."""
    _expire(connection, key, now)


def forget(connection: Connection, key: str) -> None:
    """Delete a set and its chunks."""
    connection.execute(delete(chunks).where(chunks.c.key == key))
    connection.execute(delete(chunk_sets).where(chunk_sets.c.key == key))


def delete_expired(connection: Connection, now: Micros) -> None:
    """Delete the expired sets; their chunks' uploads expire by themselves."""
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
