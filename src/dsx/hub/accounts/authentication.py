"""Authentication: resolves credentials of every form to principals."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace

from dsx.catalog import tokens
from dsx.catalog.database import Catalog
from dsx.core.digest import text_digest
from dsx.core.errors import DSXError, Unauthenticated
from dsx.core.principals import OF_ROLE, Principal, Scope, Token, User
from dsx.hub.accounts import access
from dsx.hub.accounts.principals import principal_of, service
from dsx.hub.accounts.shares import Shares
from dsx.hub.accounts.sign_in_limits import RateLimiter
from dsx.hub.accounts.tokens import PREFIX, SESSION, hash_of
from dsx.hub.accounts.users import Users
from dsx.hub.clock import SECOND, now

_USED = 60 * SECOND
"""Precision of a token's recorded last use."""
_JWT_DOTS = 2


@dataclass(frozen=True, slots=True)
class Credential:
    """The credential of a request.

    Attributes:
        secret: a password, API key, token, signed token, or a share link's secret.
        user: the name that came with a password; None: *secret* alone identifies the caller.
        cookie: it came in a cookie, which browsers send whichever page made the request.
        device: the cookie of a browser that has signed in before; see `SignInLimiter.device_of`.
    """

    secret: str
    user: str | None = None
    cookie: bool = False
    device: str = ""


class Authenticator:
    """Resolves credentials to principals. Repeated passwords are not hashed again."""

    def __init__(
        self,
        catalog: Catalog,
        keys: Iterable[str],
        accounts: Users,
        shares: Shares,
        *,
        pace: RateLimiter,
        anonymous: Collection[Scope] = (),
    ) -> None:
        """Accept *keys*, kept as hashes; *anonymous*: scopes of unauthenticated requests."""
        self._keys = [text_digest(key) for key in keys if key]
        if not self._keys:
            raise ValueError("at least one API key is required")
        self._catalog = catalog
        self._accounts = accounts
        self._shares = shares
        self._pace = pace
        self._anonymous = frozenset(anonymous)
        self._noting: set[asyncio.Task[None]] = set()

    async def authenticate(self, credential: Credential | None, address: str = "") -> Principal:
        """Return the principal of *credential*; raises `Unauthenticated` or `RateLimited`."""
        if credential is None:
            if not self._anonymous:
                raise Unauthenticated(
                    "This request needs a credential: send 'Authorization: Bearer <token or API "
                    "key>', or the name and password of an account as Basic."
                )
            principal = Principal(access.ANONYMOUS, name=access.ANONYMOUS, scopes=self._anonymous)
        else:
            principal = await self._resolve(credential, address)
        principal = replace(principal, address=address)
        self._pace.check(principal)
        return principal

    async def stands(self, credential: Credential | None, principal: Principal) -> bool:
        """Return whether *credential* still authenticates as *principal*.

        For long-running requests. Counts neither as an attempt nor as a request.
        """
        if credential is None:
            return True
        if credential.user is not None and not principal.via and principal.id != access.ADMIN:
            return await self._accounts.unchanged(principal.id, principal.generation)
        try:
            found = await self._resolve(credential, principal.address)
        except Unauthenticated:
            return False
        return replace(found, address=principal.address) == principal

    async def aclose(self) -> None:
        """Await pending updates of last use."""
        await asyncio.gather(*self._noting, return_exceptions=True)

    async def _resolve(self, credential: Credential, address: str) -> Principal:
        secret = credential.secret
        if not credential.cookie and self._is_key(secret):
            return service()
        if secret.startswith(PREFIX["link"]):
            return await self._shares.holder(secret)
        if secret.startswith(tuple(PREFIX.values())):
            return await self._of_token(secret, session=credential.cookie)
        if credential.cookie:
            raise Unauthenticated("The session has ended; sign in again.")
        if credential.user is not None:
            user = await self._accounts.sign_in(
                credential.user, secret, address=address, device=credential.device
            )
            return principal_of(user)
        if secret.count(".") == _JWT_DOTS:
            return principal_of(await self._accounts.of_jwt(secret))
        raise Unauthenticated("Unknown API key or token: check DSX_API_KEY.")

    def _is_key(self, secret: str) -> bool:
        """Compare in constant time, whichever key matches or none."""
        presented = text_digest(secret)
        matches = [hmac.compare_digest(presented, known) for known in self._keys]
        return any(matches)

    async def _of_token(self, secret: str, *, session: bool) -> Principal:
        hash_ = hash_of(secret)
        found = await self._catalog.read(lambda connection: tokens.holder(connection, hash_, now()))
        if found is None or (found[0].kind == SESSION) != session or found[0].kind == "invite":
            raise Unauthenticated("The token is unknown, has expired or was revoked.")
        token, user = found
        if user is not None and user.disabled:
            raise Unauthenticated("This account is disabled; ask an admin.")
        self._note_use(token)
        return _principal(token, user)

    def _note_use(self, token: Token) -> None:
        if token.used is None or now() - token.used > _USED:
            noting = asyncio.create_task(self._touch(token.id))
            self._noting.add(noting)
            noting.add_done_callback(self._noting.discard)

    async def _touch(self, id_: str) -> None:
        with suppress(DSXError):  # informational only
            await self._catalog.write(
                lambda connection: tokens.touch(connection, id_, now()), durable=False
            )


def _principal(token: Token, user: User | None) -> Principal:
    if user is not None:
        return principal_of(user, token)
    if token.owner != access.ADMIN:
        raise Unauthenticated("The token's account no longer exists.")
    return replace(
        service(),
        scopes=token.scopes,
        places=token.places,
        partial=not OF_ROLE["admin"] <= token.scopes,
        expires=token.expires,
        via=token.id,
    )
