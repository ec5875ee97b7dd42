"""How often one may try to sign in, and ask."""

from __future__ import annotations

import asyncio

import pytest
from tests.support.catalogs import opened

from dsx.core.errors import RateLimited
from dsx.core.principals import Principal
from dsx.hub.accounts.sign_in_limits import PER_NAME, RateLimiter, SignInLimiter


def test_strangers_share_a_limit_for_each_name(catalog_url: str) -> None:
    """Wherever they come from; other names are not concerned."""

    async def check() -> None:
        async with opened(catalog_url) as catalog:
            throttle = SignInLimiter(catalog)
            for number in range(PER_NAME):
                await throttle.enter("eve", f"10.1.{number}.1")
            with pytest.raises(RateLimited):
                await throttle.enter("eve", "10.2.0.1")
            await throttle.enter("bob", "10.2.0.1")

    asyncio.run(check())


def test_who_asks_too_often_is_told_when_to_come_back() -> None:
    pace, alice = RateLimiter(10), Principal("alice")
    for _ in range(20):  # a burst
        pace.check(alice)
    with pytest.raises(RateLimited) as refused:
        for _ in range(10_000):
            pace.check(alice)
    assert refused.value.details["retry_after"] >= 1
    pace.check(Principal("bob"))
