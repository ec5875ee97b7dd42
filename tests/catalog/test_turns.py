"""One principal's work on the catalog leaves threads to others'."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

from sqlalchemy import Connection

from dsx.catalog.database import THREADS, Catalog
from dsx.core.asking import asked_by


def test_a6_one_principal_never_has_all_threads(tmp_path: Path) -> None:
    """A6: who has more requests than there are threads waits; another is answered meanwhile."""
    asyncio.run(_check(tmp_path))


async def _check(tmp_path: Path) -> None:
    catalog = Catalog(f"sqlite:///{tmp_path / 'catalog.db'}")
    free = threading.Event()

    async def of(owner: str) -> None:
        asked_by(owner)
        await catalog.read(held if owner == "greedy" else lambda _connection: None)

    def held(_connection: Connection) -> None:
        free.wait(30)

    greedy = [asyncio.create_task(of("greedy")) for _ in range(2 * THREADS)]
    await asyncio.sleep(0)
    try:
        await asyncio.wait_for(asyncio.create_task(of("modest")), 10)
    finally:
        free.set()
        await asyncio.gather(*greedy)
        await catalog.aclose()
