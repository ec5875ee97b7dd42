"""The writers of uploads and their bytes. Inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, delete, insert, select, update

from dsx.catalog.schema.transfers import writers
from dsx.core.batches import in_batches
from dsx.core.ranges import ByteRange


def enter(connection: Connection, token: str, upload: str, span: ByteRange) -> list[str]:
    """Record a writer of *span*; older ones in its way are asked to yield, and returned.

    The upload must be locked.
    """
    older = overlapping(connection, upload, span)
    if older:
        connection.execute(update(writers).where(writers.c.token.in_(older)).values(asked=True))
    connection.execute(
        insert(writers).values(
            token=token, upload=upload, start=span.start, stop=span.stop, asked=False
        )
    )
    return older


def overlapping(connection: Connection, upload: str, span: ByteRange) -> list[str]:
    """Return the tokens of the writers to any part of *span*."""
    query = select(writers.c.token).where(
        writers.c.upload == upload, writers.c.start < span.stop, writers.c.stop > span.start
    )
    return list(connection.execute(query).scalars())


def leave(connection: Connection, token: str) -> bool:
    """End a writer; False: it was shut out before."""
    return bool(connection.execute(delete(writers).where(writers.c.token == token)).rowcount)


def asked(connection: Connection, tokens: Sequence[str]) -> dict[str, bool]:
    """Return those of *tokens* that were not shut out, and whether they are asked to yield."""
    found: dict[str, bool] = {}
    for batch in in_batches(tokens):
        some = writers.c.token.in_(batch)
        rows = connection.execute(select(writers.c.token, writers.c.asked).where(some))
        found.update({row.token: row.asked for row in rows})
    return found


def evict(connection: Connection, tokens: Sequence[str]) -> int:
    """Shut out the remaining ones of *tokens*; returns how many."""
    return connection.execute(delete(writers).where(writers.c.token.in_(tokens))).rowcount
