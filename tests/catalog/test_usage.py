"""What owners have is counted: by the migration that brings the counters, and ever after."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path

from alembic import command
from sqlalchemy import Connection, MetaData, insert, text, update
from tests.support.catalogs import opened

from dsx.blobs.local import LocalStore
from dsx.catalog import trash, usage
from dsx.catalog.database import Catalog, _alembic
from dsx.catalog.schema.content import files as files_table
from dsx.hub.integrity.fsck import fsck

DAY = 24 * 3600 * 1_000_000


def upgrade(connection: Connection, revision: str) -> None:
    config = _alembic()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def fill(connection: Connection) -> None:
    """Rows as they were before there were counters."""
    known = MetaData()
    known.reflect(connection)
    blob = {"digest": "d" * 64, "size": 10, "crc32": 0, "created": 1}
    connection.execute(insert(known.tables["blobs"]).values(blob))
    for owner, versions in (("alice", 3), ("bob", 1)):
        for number in range(versions):
            id_ = str(uuid.uuid4())
            row = {"id": id_, "file": id_, "version": 1, "latest": True, "owner": owner}
            row |= {"name": f"{owner}-{number}", "category": "c", "content_type": "a/b"}
            row |= {"size": 10, "sha256": "d" * 64, "created": 1, "metadata": {}, "tags": []}
            connection.execute(insert(known.tables["files"]).values(row))
    for kind, state, length, received in (
        ("whole", "open", 100, [[0, 30]]),
        ("whole", "open", None, [[0, 30], [40, 50]]),
        ("partial", "finished", 7, [[0, 7]]),
        ("final", "open", 7, []),
        ("whole", "aborted", 100, [[0, 30]]),
    ):
        row = {"id": str(uuid.uuid4()), "owner": "alice", "kind": kind, "state": state}
        row |= {"category": "c", "content_type": "a/b", "metadata": {}, "tags": []}
        row |= {"only_if_absent": False, "length": length, "received": received}
        reserved = 70 if state == "open" and length == 100 else 0
        row |= {"reserved": reserved, "expected": {}, "notes": {}, "generation": 0}
        row |= {"created": 1, "expires": 1}
        connection.execute(insert(known.tables["uploads"]).values(row))
    for kind, state in (
        (None, "pending"),
        ("delete", "paused"),
        ("delete", "completed"),
        ("upload", "running"),
    ):
        row = {"id": str(uuid.uuid4()), "owner": "alice", "kind": kind, "state": state}
        row |= {"name": "", "done": 0, "subject": {}, "created": 1, "updated": 1, "expires": 1}
        connection.execute(insert(known.tables["tasks"]).values(row))


def test_the_migration_counts_what_is_there(catalog_url: str) -> None:
    async def check() -> None:
        catalog = Catalog(catalog_url)
        try:
            await catalog.write(lambda connection: upgrade(connection, "0010"))
            await catalog.write(fill)
            await catalog.migrate()
            found = await catalog.read(lambda connection: usage.of(connection, "alice"))
            assert found == usage.Usage(30, 3, 100 + 40 + 7, 70, 4, 2)
            found = await catalog.read(lambda connection: usage.of(connection, "bob"))
            assert found == usage.Usage(10, 1)
            assert await catalog.read(usage.wrong) == []
            assert await catalog.read(usage.reserved) == 70
        finally:
            await catalog.aclose()

    asyncio.run(check())


def test_files_that_change_hands_are_counted(catalog_url: str) -> None:
    async def check() -> None:
        async with opened(catalog_url) as catalog:
            await catalog.write(fill)
            moved = update(files_table).where(files_table.c.owner == "bob").values(owner="carol")
            await catalog.write(lambda connection: connection.execute(moved))
            assert await catalog.read(usage.wrong) == []
            assert (await catalog.read(lambda c: usage.of(c, "bob"))).files == 0
            assert (await catalog.read(lambda c: usage.of(c, "carol"))).bytes == 10

    asyncio.run(check())


def test_fsck_finds_and_mends_what_is_miscounted(catalog_url: str, tmp_path: Path) -> None:
    async def check() -> None:
        async with opened(catalog_url) as catalog:
            blobs = LocalStore(tmp_path)
            await catalog.write(fill)
            spoilt = text("UPDATE usage SET bytes = 5 WHERE owner = 'alice'")
            await catalog.write(lambda connection: connection.execute(spoilt))
            assert (await fsck(catalog, blobs)).miscounted == 1
            assert (await fsck(catalog, blobs, repair=True)).miscounted == 1
            assert (await fsck(catalog, blobs)).miscounted == 0
            assert (await catalog.read(lambda c: usage.of(c, "alice"))).bytes == 30

    asyncio.run(check())


def test_expired_trash_is_found_by_an_index(tmp_path: Path) -> None:
    """It is looked for every ten minutes, among all files there are."""

    async def check() -> None:
        async with opened(f"sqlite:///{tmp_path / 'catalog.db'}") as catalog:
            plans: list[str] = []

            def explained(connection: Connection) -> None:
                query = (
                    "SELECT file FROM files WHERE trashed IS NOT NULL AND latest AND expires <= 1"
                )
                rows = connection.execute(text(f"EXPLAIN QUERY PLAN {query} ORDER BY expires"))
                plans.extend(str(row) for row in rows)
                assert trash.expired(connection, DAY, 10) == []

            await catalog.read(explained)
            assert any("files_expires" in plan for plan in plans), plans
            assert not any("SCAN files'" in plan for plan in plans)

    asyncio.run(check())
