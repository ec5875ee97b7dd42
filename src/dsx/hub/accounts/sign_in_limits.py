"""Rate limits: of sign-ins (counted in the catalog) and of requests (counted in this process)."""

from __future__ import annotations

import math
import secrets
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from dsx.catalog import attempts
from dsx.catalog.database import Catalog
from dsx.core.addresses import source_of
from dsx.core.digest import text_digest
from dsx.core.errors import RateLimited
from dsx.core.model import Micros
from dsx.core.principals import Principal
from dsx.hub.accounts.signing_keys import SealedCookie
from dsx.hub.clock import DAY, SECOND, now

WINDOW = 15 * 60 * SECOND
PER_PAIR = 10
"""Failures within the window for one name from one address, or from one known browser."""
PER_NAME = 50
"""Failures for one name from all unknown addresses and browsers."""
PER_ADDRESS = 100
KNOWN_DAYS = 90
"""Days for which an address is known after a sign-in."""
DEVICE_SECONDS = 400 * DAY // SECOND
"""Seconds for which a browser is known (browsers keep no cookie for longer)."""
_KNOWN = KNOWN_DAYS * DAY
_SUBJECTS = 10
_BUCKETS = 10_000


@dataclass(frozen=True, slots=True)
class Attempt:
    """An accepted attempt.

    Attributes:
        counted: the keys it was counted under; the first one is its own.
        pair: of the name and the address; empty: the browser was known.
        name: a hash of the name.
    """

    counted: Sequence[str]
    pair: str
    name: str


class SignInLimiter:
    """Limits sign-in attempts, across all servers.

    An attempt is counted before it is carried out, so that concurrent ones cannot bypass the limit.
    A user who has signed in under a name before, from the same address or with the same browser, is
    not counted with strangers: they cannot lock the name's owner out by guessing.
    """

    def __init__(self, catalog: Catalog, box: SealedCookie | None = None) -> None:
        """*box* seals the cookies that identify browsers; None: browsers are not recognized."""
        self._catalog = catalog
        self._box = box

    async def enter(
        self, name: str, address: str, *, subject: str = "", device: str = ""
    ) -> Attempt:
        """Count an attempt to sign in as *name*, or to sign up; `RateLimited` over the limit.

        *device*: the browser's cookie from `device_of`, which makes it known for *subject*.
        """
        id_, subjects = self._opened(device)
        pair, named, whence = _keys(name, address)
        # A known browser only has its own limit: it may share an address with strangers.
        own = text_digest(f"device {name.casefold()} {id_}") if subject in subjects else pair

        def work(connection: Connection) -> tuple[Attempt, float]:
            instant, wait = now(), 0.0
            known = own != pair or attempts.is_known(connection, pair, instant - _KNOWN)
            limits: list[tuple[str, float]] = [(own, PER_PAIR)]
            if own == pair:
                limits.append((whence, math.inf if known else PER_ADDRESS))
            if not known:
                limits.append((named, PER_NAME))
            for key, limit in limits:
                count, end = attempts.note(connection, key, instant, WINDOW)
                if count > limit:
                    wait = max(wait, (end - instant) / SECOND)
            return Attempt([key for key, _ in limits], pair if own == pair else "", named), wait

        attempt, wait = await self._catalog.write(work, durable=False)
        if wait:
            raise RateLimited(
                "Too many failed attempts; wait, then try again.",
                {"retry_after": math.ceil(wait)},
            )
        return attempt

    async def succeeded(self, attempt: Attempt) -> None:
        """Uncount a successful attempt, forgive failures of its kind, and remember the address."""
        own, *others = attempt.counted

        def work(connection: Connection) -> None:
            attempts.forgive(connection, own)
            for key in others:
                attempts.uncount(connection, key)
            if attempt.pair:
                attempts.know(connection, attempt.pair, attempt.name, now())

        await self._catalog.write(work, durable=False)

    def device_of(self, subject: str, device: str = "") -> str | None:
        """Return a cookie by which a browser is known for *subject*, and for those of *device*."""
        if self._box is None:
            return None
        id_, subjects = self._opened(device)
        known = [subject, *(one for one in subjects if one != subject)][:_SUBJECTS]
        return self._box.seal({"id": id_ or secrets.token_urlsafe(12), "of": " ".join(known)})

    async def forget(self, name: str) -> None:
        """Forget where *name* has signed in from: its next owner is somebody else."""
        named = _keys(name, "")[1]
        await self._catalog.write(lambda connection: attempts.forget_known(connection, named))

    async def drop_expired(self, instant: Micros) -> None:
        """Delete counts and known addresses that have expired at *instant*."""

        def work(connection: Connection) -> None:
            attempts.delete_expired(connection, instant - WINDOW)
            attempts.tidy_known(connection, instant - _KNOWN)

        await self._catalog.write(work, durable=False)

    def _opened(self, device: str) -> tuple[str, list[str]]:
        opened = self._box.open(device, DEVICE_SECONDS) if self._box and device else None
        return (opened["id"], opened["of"].split()) if opened else ("", [])


def _keys(name: str, address: str) -> tuple[str, str, str]:
    source, folded = source_of(address), name.casefold()
    return (
        text_digest(f"pair {folded} {source}"),
        text_digest(f"name {folded}"),
        text_digest(f"address {source}"),
    )


class RateLimiter:
    """Limits requests a second of each account, with bursts of twice as many; in this process.

    All tokens, sessions and passwords of an account count together. A share link has a limit of its
    own, so that its recipients cannot use up its owner's.
    """

    def __init__(self, per_second: float | None) -> None:
        """None: no limit."""
        self._rate = per_second
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def check(self, principal: Principal) -> None:
        """Count a request; `RateLimited` over the limit."""
        if self._rate is None:
            return
        key, instant, most = _payer(principal), time.monotonic(), 2 * self._rate
        left, since = self._left.pop(key, (most, instant))
        left = min(most, left + (instant - since) * self._rate)
        self._left[key] = (max(0.0, left - 1), instant)
        if len(self._left) > _BUCKETS:
            self._left.popitem(last=False)
        if left < 1:
            raise RateLimited(
                "Rate limit exceeded.",
                {"retry_after": max(1, math.ceil((1 - left) / self._rate))},
            )


def _payer(principal: Principal) -> str:
    return principal.via if principal.link else principal.id
