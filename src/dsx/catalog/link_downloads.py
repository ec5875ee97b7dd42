"""Downloads by links with a download limit. Functions run inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from dsx.catalog.schema.accounts import link_downloads
from dsx.core.model import Micros


@dataclass(frozen=True, slots=True)
class LinkDownload:
    """One recipient's download of one item.

    Attributes:
        id: a secret that the recipient may show to resume it.
        share: the link's id.
        item: a hash of the item: path and content.
        recipient: a hash of the recipient's source and program.
        begun: total bytes of its requests.
        active: number of its requests being answered.
        complete: whether all of it was sent, in one response or several.
        sent: the bytes sent, as pairs; ``broken``: those requested in interrupted responses, some
            of which may have been sent.
        seen: when it was last begun or resumed.
    """

    id: str
    share: str
    item: str
    recipient: str
    begun: int
    active: int
    complete: bool
    sent: list[list[int]]
    broken: list[list[int]]
    seen: Micros


def add(connection: Connection, new: LinkDownload) -> None:
    """Record a new download."""
    connection.execute(
        insert(link_downloads).values(
            id=new.id,
            share=new.share,
            item=new.item,
            recipient=new.recipient,
            begun=new.begun,
            active=new.active,
            complete=new.complete,
            sent=new.sent,
            broken=new.broken,
            seen=new.seen,
        )
    )


def by_id(connection: Connection, id_: str) -> LinkDownload | None:
    """Return the download of that id."""
    row = connection.execute(select(link_downloads).where(link_downloads.c.id == id_)).first()
    return None if row is None else _download(row)


def of_recipient(
    connection: Connection, share: str, recipient: str, since: Micros
) -> Sequence[LinkDownload]:
    """Return the downloads of *recipient* by a link since an instant, latest first."""
    columns = link_downloads.c
    query = select(link_downloads).where(
        columns.share == share, columns.recipient == recipient, columns.seen >= since
    )
    return [_download(row) for row in connection.execute(query.order_by(columns.seen.desc()))]


def change(connection: Connection, id_: str, **values: Any) -> None:
    """Set columns of a download."""
    connection.execute(update(link_downloads).where(link_downloads.c.id == id_).values(**values))


def remove(connection: Connection, id_: str) -> None:
    """Delete a download."""
    connection.execute(delete(link_downloads).where(link_downloads.c.id == id_))


def delete_expired(connection: Connection, forgotten: Micros) -> None:
    """Delete downloads last seen before *forgotten*."""
    connection.execute(delete(link_downloads).where(link_downloads.c.seen < forgotten))


def _download(row: Row[Any]) -> LinkDownload:
    return LinkDownload(
        id=row.id,
        share=row.share,
        item=row.item,
        recipient=row.recipient,
        begun=row.begun,
        active=row.active,
        complete=bool(row.complete),
        sent=row.sent,
        broken=row.broken,
        seen=row.seen,
    )
