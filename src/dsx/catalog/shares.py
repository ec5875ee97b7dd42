"""Shares of owners. Functions run inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, and_, delete, func, insert, or_, select, update

from dsx.catalog.schema.accounts import shares, users
from dsx.catalog.schema.base import LIVE
from dsx.catalog.schema.content import files
from dsx.core.batches import in_batches
from dsx.core.errors import NotFound
from dsx.core.model import Micros
from dsx.core.principals import SERVICE, ResourceScope, Share


def add(connection: Connection, share: Share, hash_: str | None) -> None:
    """Record a share; a link is found by the hash of its secret."""
    connection.execute(
        insert(shares).values(
            id=share.id,
            owner=share.owner,
            kind=share.place.kind,
            value=share.place.value,
            grantee=share.grantee,
            hash=hash_,
            password=share.password,
            downloads=share.downloads,
            downloaded=share.downloaded,
            created=share.created,
            expires=share.expires,
        )
    )


def by_hash(connection: Connection, hash_: str) -> Share | None:
    """Return the link whose secret has that hash, even if it has expired or is used up."""
    row = connection.execute(select(shares).where(shares.c.hash == hash_)).first()
    return _share(row) if row is not None else None


def granted(connection: Connection, owner: str, grantee: str, now: Micros) -> list[ResourceScope]:
    """Return what *owner* lets *grantee* read now."""
    query = select(shares.c.kind, shares.c.value).where(
        shares.c.grantee == grantee, shares.c.owner == owner, _alive(now), _owned()
    )
    return [ResourceScope(row.kind, row.value) for row in connection.execute(query)]


def dataset_granted(connection: Connection, name: str, grantee: str, now: Micros) -> bool:
    """Return whether an admin account, or the hub's own key, lets *grantee* read that dataset."""
    admins = select(users.c.id).where(users.c.role == "admin", ~users.c.disabled)
    of_admin = or_(shares.c.owner == SERVICE, shares.c.owner.in_(admins))
    named = and_(shares.c.kind == "dataset", shares.c.value == name)
    query = select(shares.c.id).where(shares.c.grantee == grantee, named, of_admin, _alive(now))
    return connection.execute(query.limit(1)).first() is not None


def page(connection: Connection, owner: str, after: str, limit: int) -> Sequence[Share]:
    """Return the owner's shares with ids greater than *after*, oldest first."""
    query = select(shares).where(shares.c.owner == owner, shares.c.id > after)
    return [_share(row) for row in connection.execute(query.order_by(shares.c.id).limit(limit))]


def count(connection: Connection, owner: str, now: Micros) -> int:
    """Return the number of the owner's shares that have not ended."""
    query = select(func.count()).select_from(shares).where(shares.c.owner == owner, _alive(now))
    return connection.execute(query).scalar_one()


def file_names(connection: Connection, ids: Sequence[str]) -> dict[str, str]:
    """Return the names of files, by `FileVersion.file`."""
    found: dict[str, str] = {}
    for batch in in_batches(ids):
        some = files.c.file.in_(batch)
        rows = connection.execute(select(files.c.file, files.c.name).where(some, files.c.latest))
        found.update({row.file: row.name for row in rows})
    return found


def live_files(connection: Connection, ids: Sequence[str]) -> set[str]:
    """Return those of *ids*, of `FileVersion.file`, that are not deleted."""
    found: set[str] = set()
    for batch in in_batches(ids):
        query = select(files.c.file).where(files.c.file.in_(batch), LIVE)
        found.update(connection.execute(query).scalars())
    return found


def to(connection: Connection, grantee: str, now: Micros) -> Sequence[Share]:
    """Return what anybody lets *grantee* read now."""
    query = select(shares).where(shares.c.grantee == grantee, _alive(now), _owned())
    return [_share(row) for row in connection.execute(query.order_by(shares.c.id).limit(1000))]


def use(connection: Connection, id_: str) -> bool:
    """Count a download by a link; False if it had none left."""
    left = or_(shares.c.downloads.is_(None), shares.c.downloaded < shares.c.downloads)
    more = update(shares).where(and_(shares.c.id == id_, left))
    return bool(connection.execute(more.values(downloaded=shares.c.downloaded + 1)).rowcount)


def give_back(connection: Connection, id_: str) -> None:
    """Undo one `use`."""
    used = (shares.c.id == id_) & (shares.c.downloaded > 0)
    connection.execute(update(shares).where(used).values(downloaded=shares.c.downloaded - 1))


def remove(connection: Connection, owner: str, id_: str) -> None:
    """End the owner's share; `NotFound` if there is none."""
    gone = delete(shares).where(shares.c.owner == owner, shares.c.id == id_)
    if not connection.execute(gone).rowcount:
        raise NotFound(f"There is no share {id_!r}.")


def delete_expired(connection: Connection, forgotten: Micros) -> None:
    """Delete shares that expired before *forgotten*."""
    connection.execute(delete(shares).where(shares.c.expires <= forgotten))


def _alive(now: Micros) -> Any:
    return or_(shares.c.expires.is_(None), shares.c.expires > now)


def _owned() -> Any:
    """Return the condition that the owner's account is enabled: else its shares are suspended."""
    return ~shares.c.owner.in_(select(users.c.id).where(users.c.disabled))


def _share(row: Row[Any]) -> Share:
    return Share(
        id=row.id,
        owner=row.owner,
        place=ResourceScope(row.kind, row.value),
        grantee=row.grantee,
        password=row.password,
        downloads=row.downloads,
        downloaded=row.downloaded,
        created=row.created,
        expires=row.expires,
    )
