"""How often one may try: to sign in (counted in the catalog), and to ask (counted here)."""

from __future__ import annotations

import hashlib
import math
import time
from collections import OrderedDict

from sqlalchemy import Connection

from dsx.catalog import attempts
from dsx.catalog.engine import Catalog
from dsx.core.errors import RateLimited
from dsx.core.principals import Principal
from dsx.hub.clock import SECOND, now

WINDOW = 15 * 60 * SECOND
PER_PAIR = 10
"""Failures within the window for one name from one address."""
PER_NAME = 50
PER_ADDRESS = 100
_BUCKETS = 10_000


class Throttle:
    """Lets through so many attempts, whichever server they come to.

    An attempt is counted before it is carried out, so that many at once are no way round.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    async def enter(self, name: str, address: str) -> None:
        """Count an attempt to sign in as *name*, or to sign up; `RateLimited` if it is too many."""
        limits = zip(_keys(name, address), (PER_PAIR, PER_NAME, PER_ADDRESS), strict=True)

        def work(connection: Connection) -> float:
            instant, wait = now(), 0.0
            for key, limit in limits:
                count, end = attempts.note(connection, key, instant, WINDOW)
                if count > limit:
                    wait = max(wait, (end - instant) / SECOND)
            return wait

        wait = await self._catalog.write(work, durable=False)
        if wait:
            raise RateLimited(
                "There were too many failed attempts; wait, then try again.",
                {"retry_after": math.ceil(wait)},
            )

    async def succeeded(self, name: str, address: str) -> None:
        """The attempt was none to count: forgive the others of that name from that address, too."""
        pair, *others = _keys(name, address)

        def work(connection: Connection) -> None:
            attempts.forgive(connection, pair)
            for key in others:
                attempts.uncount(connection, key)

        await self._catalog.write(work, durable=False)

    async def drop_expired(self) -> None:
        """Forget what is past."""
        instant = now()
        await self._catalog.write(
            lambda connection: attempts.tidy(connection, instant - WINDOW), durable=False
        )


def _keys(name: str, address: str) -> list[str]:
    pair, named, whence = f"pair {name.casefold()} {address}", f"name {name.casefold()}", address
    return [
        hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        for text in (pair, named, f"address {whence}")
    ]


class Pace:
    """Lets each principal ask so often a second, twice as much in a burst; in this process."""

    def __init__(self, per_second: float | None) -> None:
        """None: as often as they like."""
        self._rate = per_second
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def check(self, principal: Principal) -> None:
        """Count a request; `RateLimited` if it is one too many."""
        if self._rate is None:
            return
        key, instant, most = principal.via or principal.id, time.monotonic(), 2 * self._rate
        left, since = self._left.pop(key, (most, instant))
        left = min(most, left + (instant - since) * self._rate)
        self._left[key] = (max(0.0, left - 1), instant)
        if len(self._left) > _BUCKETS:
            self._left.popitem(last=False)
        if left < 1:
            raise RateLimited(
                "That is too many requests a second.",
                {"retry_after": max(1, math.ceil((1 - left) / self._rate))},
            )
