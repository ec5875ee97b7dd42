"""Partial uploads and the final ones that join them. Inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, Select, case, func, select, update

from dsx.catalog.schema.transfers import upload_parts, uploads
from dsx.core.model import Micros
from dsx.core.transfers import Upload


def finals_of(connection: Connection, partial: str) -> list[tuple[str, str]]:
    """Return id and owner of the open finals that *partial* is a part of."""
    query = (
        select(uploads.c.id, uploads.c.owner)
        .distinct()
        .join(upload_parts, upload_parts.c.final == uploads.c.id)
        .where(upload_parts.c.partial == partial, uploads.c.state == "open")
    )
    return [(row.id, row.owner) for row in connection.execute(query)]


def counted_as(connection: Connection, upload: Upload) -> int:
    """Return the bytes *upload* counts for; a final takes over those of its partials."""
    if upload.kind != "final":
        return upload.counted
    query = select(func.coalesce(func.sum(uploads.c.counted), 0))
    return int(connection.execute(query.where(uploads.c.id.in_(_partials(upload.id)))).scalar_one())


def consume_parts(connection: Connection, final: str, expires: Micros) -> None:
    """End the partials of a final that has become a file: they no longer count."""
    these = uploads.c.id.in_(_partials(final)) & (uploads.c.state == "finished")
    sooner = case((uploads.c.expires < expires, uploads.c.expires), else_=expires)
    connection.execute(update(uploads).where(these).values(counted=0, expires=sooner))


def _partials(final: str) -> Select[tuple[str]]:
    return select(upload_parts.c.partial).where(upload_parts.c.final == final)


def partials_of(connection: Connection, final: str) -> Sequence[str]:
    """Return the ids of a final's partials, in their order."""
    query = select(upload_parts.c.partial).where(upload_parts.c.final == final)
    return connection.execute(query.order_by(upload_parts.c.position)).scalars().all()
