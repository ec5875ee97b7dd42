"""Tokens, browser sessions and invitations: secrets that are shown once and kept as hashes."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Sequence
from typing import Literal

import uuid_utils
from sqlalchemy import Connection

from dsx.catalog import tokens as records
from dsx.catalog.database import Catalog
from dsx.core.digest import text_digest
from dsx.core.errors import Conflict, Denied, Invalid
from dsx.core.model import Micros
from dsx.core.names import check_dataset_name, check_label, check_stored_name
from dsx.core.principals import OF_ROLE, Principal, ResourceScope, Role, Scope, Token, User
from dsx.hub.accounts import access
from dsx.hub.accounts.audit import note
from dsx.hub.accounts.principals import principal_of
from dsx.hub.clock import now
from dsx.hub.limits import check_number

Kind = Literal["token", "session", "invite"]
TOKEN: Kind = "token"  # noqa: S105 (a kind, not a secret)
SESSION: Kind = "session"
INVITE: Kind = "invite"
PREFIX: dict[str, str] = {"token": "dsx_", "session": "dsxc_", "invite": "dsxi_", "link": "dsxs_"}
"""Prefixes by which people and secret scanners recognize the secrets."""
MAX_PLACES = 100
_MAX_NAME = 100


def new_secret(kind: str) -> tuple[str, str]:
    """Return an unguessable secret (256 bits) and its hash."""
    secret = PREFIX[kind] + secrets.token_urlsafe(32)
    return secret, hash_of(secret)


def hash_of(secret: str) -> str:
    """Return the stored hash of a secret: it is random, so a fast hash without salt is enough."""
    return text_digest(secret)


def check_place(place: ResourceScope) -> ResourceScope:
    """Return *place* if it is valid; else raise `Invalid`."""
    match place.kind:
        case "category":
            check_label("A category", place.value)
        case "dataset":
            check_dataset_name(place.value)
        case "prefix":
            check_stored_name(f"{place.value}x")  # a name below the prefix must be valid
        case "file":
            check_label("An id", place.value)
    return place


class Tokens:
    """The tokens of all accounts; each call sees only the caller's."""

    def __init__(
        self,
        catalog: Catalog,
        *,
        session_ttl: float,
        most: int | None = None,
        invites: bool = True,
    ) -> None:
        """*session_ttl*: seconds after which a browser has to sign in again.

        *most*: limits each owner's tokens, sessions and invitations; None: no limit. *invites*:
        whether sign-up accepts invitations.
        """
        self._catalog = catalog
        self._most = most
        self._invites = invites
        self._session_ttl = session_ttl

    async def create(
        self,
        principal: Principal,
        name: str,
        scopes: Collection[Scope],
        *,
        places: Sequence[ResourceScope] | None = None,
        seconds: float | None = None,
    ) -> tuple[Token, str]:
        """Create a token; returns it and its secret, which cannot be recovered later.

        *places*: what it is limited to, None: no limits; *seconds*: its lifetime, None: until
        revoked. `Denied` for scopes that the principal does not have.
        """
        access.require_whole(principal)
        if not set(scopes) <= principal.scopes:
            raise Denied("A token cannot have scopes that you do not have.")
        if not scopes:
            raise Invalid("A token needs at least one scope.")
        if places is not None and not 0 < len(places) <= MAX_PLACES:
            raise Invalid(f"A token may be limited to 1 to {MAX_PLACES} places.")
        checked = None if places is None else tuple(check_place(place) for place in places)
        return await self._issue(
            principal, TOKEN, name, scopes=frozenset(scopes), places=checked, seconds=seconds
        )

    async def open_session(self, user: User, *, address: str = "") -> tuple[Token, str]:
        """Open a browser session for a user who has just signed in; returns it and its secret."""
        principal = principal_of(user, None, address)
        name = f"browser at {address}"
        return await self._issue(
            principal,
            SESSION,
            name,
            scopes=principal.scopes,
            places=None,
            seconds=self._session_ttl,
        )

    async def invite(self, principal: Principal, role: Role, seconds: float) -> tuple[Token, str]:
        """Create an invitation to sign up once; for admins."""
        access.require(principal, "admin")
        access.require_whole(principal)
        if not self._invites:
            raise Conflict(
                "Sign-up is closed here, so invitations cannot be used: create the account "
                "yourself, or start the hub with DSX_SIGNUP=invite."
            )
        scopes = OF_ROLE[role]
        return await self._issue(
            principal, INVITE, f"to be {role}", scopes=scopes, places=None, seconds=seconds
        )

    async def list(self, principal: Principal, kind: Kind = TOKEN) -> Sequence[Token]:
        """Return the principal's own tokens, oldest first."""
        access.require(principal, "read")
        access.require_account(principal)
        return await self._catalog.read(
            lambda connection: records.page(connection, principal.id, kind)
        )

    async def revoke(self, principal: Principal, id_: str) -> None:
        """End a token or session of the principal immediately, on every server; or `NotFound`."""
        if principal.link or id_ != principal.via:  # any token may end itself
            access.require_whole(principal)

        def work(connection: Connection) -> None:
            records.remove(connection, principal.id, id_)
            note(connection, principal, "token.revoke", id_)

        await self._catalog.write(work)

    async def close_session(self, principal: Principal) -> None:
        """Sign out: end the session that *principal* uses; `NotFound` if it uses none."""

        def work(connection: Connection) -> None:
            records.remove(connection, principal.id, principal.via, SESSION)
            note(connection, principal, "session.end", principal.via)

        await self._catalog.write(work)

    async def drop_expired(self, instant: Micros) -> None:
        """Delete tokens that have expired by *instant*."""
        await self._catalog.write(lambda connection: records.delete_expired(connection, instant))

    async def _issue(
        self,
        principal: Principal,
        kind: Kind,
        name: str,
        *,
        scopes: frozenset[Scope],
        places: tuple[ResourceScope, ...] | None,
        seconds: float | None,
    ) -> tuple[Token, str]:
        secret, hash_ = new_secret(kind)
        instant = now()
        token = Token(
            id=str(uuid_utils.uuid7()),
            owner=principal.id,
            kind=kind,
            name=check_label("A token's name", name)[:_MAX_NAME],
            scopes=scopes,
            places=places,
            created=instant,
            expires=access.ends(principal, instant, seconds),
            used=None,
        )

        def work(connection: Connection) -> None:
            if kind == SESSION:  # signing in always works: the oldest one ends
                records.drop_oldest(connection, principal.id, kind, self._most)
            else:
                found = records.count(connection, principal.id, kind, instant)
                check_number(found, self._most, f"{kind}s")
            records.add(connection, token, hash_)
            note(connection, principal, f"{kind}.create", token.id, scopes=sorted(scopes))

        await self._catalog.write(work)
        return token, secret
