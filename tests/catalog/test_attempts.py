"""Failed sign-ins in the catalog: counted within a window, then forgotten."""

from __future__ import annotations

import asyncio

from sqlalchemy import Connection
from tests.support.catalogs import opened

from dsx.catalog import attempts

KEY, OTHER = "a" * 64, "b" * 64


def test_attempts_count_within_a_window(catalog_url: str) -> None:
    def work(connection: Connection) -> None:
        found = [attempts.note(connection, KEY, now, 100) for now in (1000, 1001, 1099)]
        assert found == [(1, 1100), (2, 1100), (3, 1100)]
        assert attempts.note(connection, OTHER, 1099, 100) == (1, 1199)
        assert attempts.note(connection, KEY, 1100, 100) == (1, 1200)
        assert attempts.note(connection, KEY, 900, 100) == (1, 1000)  # the clock was set back

    async def check() -> None:
        async with opened(catalog_url) as catalog:
            await catalog.write(work)

    asyncio.run(check())
