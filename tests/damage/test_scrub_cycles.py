"""The cycles of the scrub, over things of the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest
from tests.support.catalogs import opened

from dsx.catalog import scrubs
from dsx.hub.clock import now
from dsx.hub.integrity import scrub
from dsx.hub.integrity.damage import RateLimiter


class Letters:
    """A kind that has three things; *meanwhile* comes in the middle of the first look at b."""

    name = row = "letters"

    def __init__(self) -> None:
        self.checked: list[str] = []

    async def totals(self) -> tuple[int, int]:
        return 3, 3

    async def page(self, after: str, limit: int) -> Sequence[scrub.Item]:
        assert limit >= 3
        return [scrub.Item(letter, 1, None) for letter in "abc" if letter > after]

    async def check(self, item: scrub.Item, pace: RateLimiter) -> bool:
        self.checked.append(item.position)
        if item.position == "b" and self.checked.count("b") == 1:
            await self.meanwhile()
        await pace(1)
        return True

    async def meanwhile(self) -> None:
        raise NotImplementedError


def test_a_cycle_that_is_asked_for_during_another_checks_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scrub, "_SAVED", 0.0)  # requests are seen whenever progress is saved

    async def check() -> None:
        async with opened(f"sqlite:///{tmp_path / 'catalog.db'}") as catalog:
            letters = Letters()
            letters.meanwhile = partial(  # type: ignore[method-assign]
                catalog.write, lambda c: scrubs.request(c, name="letters", now=now())
            )
            await scrub.Scrub(catalog, [letters], days=30, rate=None).run()
            assert letters.checked == ["a", "b", "a", "b", "c"]
            cycle = await catalog.read(lambda c: scrubs.get(c, name="letters"))
            assert (cycle.running, cycle.requested) == (False, None)
            assert cycle.last is not None
            assert cycle.last["checked"] == 3

    asyncio.run(check())
