"""H4: what happens between the finding of damage and its healing, step by step."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.support.stored import OWNER

from dsx.blobs.memory import MemoryStore
from dsx.catalog import blobs as records
from dsx.catalog import files
from dsx.catalog.database import Catalog
from dsx.core.digest import Digest
from dsx.core.model import BlobInfo, NewFile
from dsx.hub.clock import now
from dsx.hub.integrity.damage import Inspector
from dsx.hub.integrity.quarantine import Quarantine
from dsx.testing.blobs.suite import put

DATA = b"what was stored"


async def _stored(catalog: Catalog, blobs: MemoryStore) -> Digest:
    digest = await put(blobs, DATA)

    def work(connection: object) -> None:
        info = BlobInfo(digest, len(DATA), 0)
        records.add(connection, info, 1)
        files.add(connection, NewFile(OWNER, "a", "b", "c/d", {}, ()), info, 1)

    await catalog.migrate()
    await catalog.write(work)
    return digest


def test_h4_bytes_stored_anew_while_the_old_were_read_are_spared(tmp_path: Path) -> None:
    async def check() -> None:
        catalog, blobs = Catalog(f"sqlite:///{tmp_path / 'catalog.db'}"), MemoryStore()
        digest = await _stored(catalog, blobs)
        blobs.blobs[digest] = b"what was rotten"

        reads = 0

        async def pace(_: int) -> None:
            """An upload of the right bytes ends just when the wrong ones have been read twice."""
            nonlocal reads
            reads += 1
            if reads == 2:
                blobs.blobs[digest] = DATA
                info = BlobInfo(digest, len(DATA), 0)
                await catalog.write(lambda connection: records.add(connection, info, 2))

        assert await Inspector(catalog, blobs).inspect(digest, len(DATA), 1, pace) is None
        assert await blobs.stat([digest]) == {digest: len(DATA)}
        assert await blobs.quarantined() == []
        assert await catalog.read(records.count_damaged) == 0
        await catalog.aclose()

    asyncio.run(check())


def test_h4_a_replica_heals(tmp_path: Path) -> None:
    async def check() -> None:
        catalog, blobs = Catalog(f"sqlite:///{tmp_path / 'catalog.db'}"), MemoryStore()
        rotten, good = MemoryStore(), MemoryStore()
        digest = await _stored(catalog, blobs)
        blobs.blobs[digest] = rotten.blobs[digest] = b"what was rotten"
        await put(good, DATA)
        inspector = Inspector(catalog, blobs, [MemoryStore(), rotten, good])
        assert await inspector.inspect(digest, len(DATA), 1) == "has other content"
        assert blobs.blobs[digest] == DATA
        assert [one.digest for one in await blobs.quarantined()] == [digest]
        assert await catalog.read(records.count_damaged) == 0
        await catalog.aclose()

    asyncio.run(check())


def test_n16_a_damaged_copy_is_dropped_once_it_is_healed(tmp_path: Path) -> None:
    """N16: at once; before that, and what has no record, is kept for its days."""

    async def check() -> None:
        catalog, blobs = Catalog(f"sqlite:///{tmp_path / 'catalog.db'}"), MemoryStore()
        quarantine = Quarantine(catalog, blobs, days=30)
        digest = await _stored(catalog, blobs)
        blobs.blobs[digest] = b"what was rotten"
        orphan = await put(blobs, b"has no record")
        assert await quarantine.set_aside([orphan]) == 1
        assert await Inspector(catalog, blobs).inspect(digest, len(DATA), 1) is not None

        async def aside() -> set[Digest]:
            return {one.digest for one in await blobs.quarantined()}

        assert await quarantine.drop_expired(now()) == 0
        assert await aside() == {digest, orphan}
        blobs.blobs[digest] = DATA
        await quarantine.drop_expired(now())
        assert await aside() == {digest, orphan}, "nobody says yet that these are the right bytes"
        info = BlobInfo(digest, len(DATA), 0)
        await catalog.write(lambda connection: records.add(connection, info, 2))
        assert await quarantine.drop_expired(now()) == 1
        assert await aside() == {orphan}
        assert blobs.blobs[digest] == DATA
        await catalog.aclose()

    asyncio.run(check())
