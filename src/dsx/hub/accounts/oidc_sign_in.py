"""Sign-in at an external provider: OpenID Connect, authorization code flow with PKCE.

No state is kept here between the two requests of a sign-in, since another process may answer the
second one: the browser keeps it, encrypted, for a few minutes.
"""

from __future__ import annotations

import asyncio
import hmac
import re
import secrets
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any, TypeVar

from dsx.core.errors import Denied, Invalid, Unauthenticated, Unavailable
from dsx.core.principals import User
from dsx.hub.accounts.oidc_provider import Exchange, Provider
from dsx.hub.accounts.signing_keys import SealedCookie
from dsx.hub.accounts.users import Users

T = TypeVar("T")
PATIENCE = 600
"""Seconds within which the browser must return from the provider."""
_THREADS = 4
_WAITING = 32
_STRANGE = re.compile(r"[\x00-\x20\x7f\\]")
_TOO_LATE = "This sign-in has expired, or was started in another browser or window: start again."


class OidcSignIn:
    """Sign-ins at one provider."""

    def __init__(
        self, provider: Provider, accounts: Users, box: SealedCookie, *, name_claim: str
    ) -> None:
        """*name_claim*: the claim that names accounts; empty: preferred_username, else email."""
        self._provider = provider
        self._accounts = accounts
        self._box = box
        self._name_claims = (name_claim,) if name_claim else ("preferred_username", "email")
        # Its own threads: an unresponsive provider must not delay files.
        self._threads = ThreadPoolExecutor(_THREADS, "oidc")
        self._waiting = 0

    async def begin(self, redirect_uri: str, then: str) -> tuple[str, str]:
        """Return the URL for the browser, and the cookie it must keep until it returns.

        *then*: the local path to redirect to in the end; `Invalid` if it is not local.
        """
        check_local(then)
        new = secrets.token_urlsafe
        exchange = Exchange(redirect_uri, state=new(32), nonce=new(32), verifier=new(48))
        url = await self._ask(lambda: self._provider.authorization_url(exchange))
        return url, self._box.seal({**asdict(exchange), "then": then})

    async def finish(
        self, kept: str | None, answer: Mapping[str, str], *, address: str = ""
    ) -> tuple[User, str]:
        """Return the user who came back from the provider with *answer*, and where to redirect.

        Raises `Denied` unless *answer* belongs to a sign-in begun in the same browser,
        `Unavailable` if the provider does not respond. Never a 401, which would make browsers ask
        for a password.
        """
        opened = self._box.open(kept or "", PATIENCE)
        if opened is None:
            raise Denied(_TOO_LATE)
        then = opened.pop("then")
        exchange = Exchange(**opened)
        state = answer.get("state", "")
        if not hmac.compare_digest(state.encode(), exchange.state.encode()):
            raise Denied(_TOO_LATE)
        if answer.get("error"):
            raise Denied(f"The provider did not sign you in: {answer['error'][:100]!r}.")
        code = answer.get("code")
        if not code:
            raise Denied("The provider sent no code; start again.")
        claims = await self._ask(lambda: self._claims(exchange, code, answer.get("iss")))
        return await self._user(claims, address), then

    def close(self) -> None:
        """Shut down the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _claims(self, exchange: Exchange, code: str, issuer: str | None) -> dict[str, Any]:
        if issuer is not None and issuer != self._provider.issuer:  # RFC 9207
            raise Denied("The response is from another provider; start again.")
        return self._provider.claims(exchange, code)

    async def _user(self, claims: Mapping[str, Any], address: str) -> User:
        told = (claims.get(claim) for claim in self._name_claims)
        wanted = next((name for name in told if isinstance(name, str) and name), "user")
        subject = f"{claims['iss']} {claims['sub']}"
        try:
            return await self._accounts.of_subject(subject, wanted, address=address)
        except Unauthenticated as error:
            raise Denied(error.message) from None

    async def _ask(self, work: Callable[[], T]) -> T:
        if self._waiting >= _WAITING:
            raise Unavailable("Too many sign-ins are in progress; try again in a moment.")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._waiting -= 1


def check_local(path: str) -> str:
    """Return *path* if every browser resolves it on this site; else raise `Invalid`."""
    if not path.startswith("/") or path.startswith("//") or _STRANGE.search(path):
        raise Invalid("next must be a path on this site, such as /datasets.", {"field": "next"})
    return path
