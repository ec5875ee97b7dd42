"""Credentials of users: tokens, sessions, invitations. Only their hashes are stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, func, insert, or_, select, update

from dsx.catalog import users as user_records
from dsx.catalog.schema.accounts import tokens, users
from dsx.core.errors import NotFound
from dsx.core.model import Micros
from dsx.core.principals import ResourceScope, Token, User

_USER = [column.label(f"user_{column.name}") for column in users.c]
_NAMES = users.c.keys()
# Run at every request, so it is built once: building takes longer than running.
_HOLDER = (
    select(tokens, *_USER)
    .outerjoin(users, users.c.id == tokens.c.owner)
    .where(
        tokens.c.hash == bindparam("shown"),
        or_(tokens.c.expires.is_(None), tokens.c.expires > bindparam("instant")),
    )
)


def add(connection: Connection, token: Token, hash_: str) -> None:
    """Record a new token, found by the hash of its secret."""
    places = None if token.places is None else [[one.kind, one.value] for one in token.places]
    connection.execute(
        insert(tokens).values(
            id=token.id,
            owner=token.owner,
            kind=token.kind,
            name=token.name,
            hash=hash_,
            scopes=sorted(token.scopes),
            places=places,
            created=token.created,
            expires=token.expires,
            used=token.used,
        )
    )


def holder(connection: Connection, hash_: str, now: Micros) -> tuple[Token, User | None] | None:
    """Return the unexpired token with that hash, and its user (None: not an account's)."""
    row = connection.execute(_HOLDER, {"shown": hash_, "instant": now}).first()
    if row is None:
        return None
    if row.user_id is None:
        return _token(row), None
    of_user = dict(zip(_NAMES, row[len(tokens.c) :], strict=True))
    return _token(row), user_records.of(of_user)


def page(connection: Connection, owner: str, kind: str) -> Sequence[Token]:
    """Return the owner's tokens of a kind, oldest first."""
    query = select(tokens).where(tokens.c.owner == owner, tokens.c.kind == kind)
    return [_token(row) for row in connection.execute(query.order_by(tokens.c.id).limit(1000))]


def remove(connection: Connection, owner: str, id_: str, kind: str | None = None) -> None:
    """Delete the owner's token, of that *kind* (None: any); `NotFound` if there is none."""
    gone = delete(tokens).where(tokens.c.owner == owner, tokens.c.id == id_)
    if kind is not None:
        gone = gone.where(tokens.c.kind == kind)
    if not connection.execute(gone).rowcount:
        raise NotFound(f"There is no token {id_!r}.")


def remove_all(connection: Connection, owner: str, *kinds: str) -> None:
    """Delete all tokens of the owner of those kinds."""
    connection.execute(delete(tokens).where(tokens.c.owner == owner, tokens.c.kind.in_(kinds)))


def take(connection: Connection, hash_: str, kind: str, now: Micros) -> Token | None:
    """Use up and return the token with that hash; None if there is none."""
    where = (tokens.c.hash == hash_) & (tokens.c.kind == kind) & _alive(now)
    row = connection.execute(delete(tokens).where(where).returning(tokens)).first()
    return _token(row) if row is not None else None


def count(connection: Connection, owner: str, kind: str, now: Micros) -> int:
    """Return the number of the owner's unexpired tokens of a kind."""
    mine = (tokens.c.owner == owner) & (tokens.c.kind == kind) & _alive(now)
    return connection.execute(select(func.count()).select_from(tokens).where(mine)).scalar_one()


def drop_oldest(connection: Connection, owner: str, kind: str, most: int | None) -> None:
    """Delete the owner's oldest of a kind, so that with one more there are at most *most*."""
    if most is None:
        return
    mine = (tokens.c.owner == owner) & (tokens.c.kind == kind)
    kept = select(tokens.c.id).where(mine).order_by(tokens.c.id.desc()).limit(most - 1)
    connection.execute(delete(tokens).where(mine, tokens.c.id.not_in(kept)))


def is_good(connection: Connection, hash_: str, kind: str, now: Micros) -> bool:
    """Return whether there is such a token, without using it up."""
    where = (tokens.c.hash == hash_) & (tokens.c.kind == kind) & _alive(now)
    return connection.execute(select(tokens.c.id).where(where)).first() is not None


def is_known(connection: Connection, id_: str, now: Micros) -> bool:
    """Return whether there is an unexpired token of that id."""
    where = (tokens.c.id == id_) & _alive(now)
    return connection.execute(select(tokens.c.id).where(where)).first() is not None


def touch(connection: Connection, id_: str, now: Micros) -> None:
    """Record a use of a token."""
    connection.execute(update(tokens).where(tokens.c.id == id_).values(used=now))


def delete_expired(connection: Connection, now: Micros) -> None:
    """Delete expired tokens."""
    connection.execute(delete(tokens).where(tokens.c.expires <= now))


def _alive(now: Micros) -> Any:
    return or_(tokens.c.expires.is_(None), tokens.c.expires > now)


def _token(row: Row[Any]) -> Token:
    places = None if row.places is None else tuple(ResourceScope(*one) for one in row.places)
    return Token(
        id=row.id,
        owner=row.owner,
        kind=row.kind,
        name=row.name,
        scopes=frozenset(row.scopes),
        places=places,
        created=row.created,
        expires=row.expires,
        used=row.used,
    )
