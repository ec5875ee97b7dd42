"""Transactions, migrations and designed failures of the catalog's database."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text
from tests.support.catalogs import opened
from tests.support.postgres import Cluster

from dsx.catalog import database
from dsx.catalog.database import Catalog
from dsx.catalog.schema.base import metadata
from dsx.core.errors import StorageFull, Unavailable

_ADD = text("INSERT INTO blobs (digest, size, crc32, created) VALUES ('d', 1, 1, 1)")
_COUNT = text("SELECT count(*) FROM blobs")
_MIGRATE = """
import asyncio, sys
from dsx.catalog.database import Catalog
async def main():
    catalog = Catalog(sys.argv[1])
    await catalog.migrate()
    await catalog.aclose()
asyncio.run(main())
"""


def test_processes_that_start_at_once_migrate_once(catalog_url: str):
    command = [sys.executable, "-W", "error", "-c", _MIGRATE, catalog_url]
    started = [subprocess.Popen(command) for _ in range(6)]
    assert [process.wait(60) for process in started] == [0] * 6

    async def check() -> None:
        async with opened(catalog_url) as catalog:
            current, head = await catalog.revision()
            assert current == head != ""

    asyncio.run(check())


def test_migrations_make_the_schema_the_code_expects(catalog_url: str):
    async def check() -> None:
        async with opened(catalog_url) as catalog:
            different = await catalog.read(
                lambda c: compare_metadata(MigrationContext.configure(c), metadata)
            )
            assert different == []

    asyncio.run(check())


def test_sqlite_commits_durably_and_keeps_references(tmp_path: Path):
    async def check() -> None:
        async with opened(f"sqlite:///{tmp_path / 'c.db'}") as catalog:
            for pragma, value in (("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1)):
                found = await catalog.read(lambda c, p=pragma: c.scalar(text(f"PRAGMA {p}")))
                assert found == value

    asyncio.run(check())


def test_a_locked_database_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(database, "_BUSY_SECONDS", 0.05)

    async def check() -> None:
        async with opened(f"sqlite:///{tmp_path / 'c.db'}") as catalog:
            other = sqlite3.connect(tmp_path / "c.db", isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(Unavailable):
                await catalog.write(lambda c: None)
            other.execute("ROLLBACK")
            other.close()
            await catalog.write(lambda c: None)

    asyncio.run(check())


def test_a_lock_that_is_never_released_is_unavailable(
    postgres: Cluster, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(database, "_BUSY_SECONDS", 0.05)

    async def check() -> None:
        url = postgres.create_database()
        async with opened(url) as catalog:
            with psycopg.connect(url) as other:
                other.execute("SELECT pg_advisory_xact_lock(7)")
                with pytest.raises(Unavailable):
                    await asyncio.wait_for(catalog.write(lambda c: database.lock(c, 7)), 10)
            await catalog.write(lambda c: database.lock(c, 7))

    asyncio.run(check())


def test_a_full_disk_is_storage_full(tmp_path: Path):
    def fill(connection):
        connection.exec_driver_sql("PRAGMA max_page_count=1")
        connection.exec_driver_sql("CREATE TABLE big (x)")
        connection.exec_driver_sql("INSERT INTO big VALUES (zeroblob(1000000))")

    async def check() -> None:
        async with opened(f"sqlite:///{tmp_path / 'c.db'}") as catalog:
            with pytest.raises(StorageFull):
                await catalog.write(fill)

    asyncio.run(check())


@pytest.mark.parametrize(
    "url", ["sqlite:////nowhere/at/all/c.db", "postgresql://dsx@/x?host=/nowhere"]
)
def test_an_unreachable_database_is_unavailable(url: str):
    async def check() -> None:
        catalog = Catalog(url)
        with pytest.raises(Unavailable):
            await catalog.check()
        await catalog.aclose()

    asyncio.run(check())


@pytest.mark.parametrize(
    ("url", "file"),
    [
        ("sqlite:////data/c.db", "/data/c.db"),
        ("sqlite:///file:/data/c.db?uri=true", "/data/c.db"),
        ("sqlite:///:memory:", None),
        ("sqlite://", None),
        ("sqlite:///file:x?mode=memory&uri=true", None),
        ("sqlite:///file::memory:?uri=true", None),
        ("postgresql://dsx@/x?host=/nowhere", None),
    ],
)
def test_which_file_is_the_catalog_is_known(url: str, file: str | None):
    found = database.sqlite_file(url)
    assert (None if found is None else str(found)) == file


def test_reads_do_not_wait_for_writers(catalog_url: str):
    async def check() -> None:
        async with opened(catalog_url) as catalog:
            slow = [catalog.write(lambda c: time.sleep(0.1)) for _ in range(24)]
            writing = asyncio.gather(*slow)
            await asyncio.sleep(0.05)
            start = time.monotonic()
            await catalog.check()
            waited = time.monotonic() - start
            await writing
            assert waited < 0.1

    asyncio.run(check())


def test_a_read_sees_one_moment(catalog_url: str):
    """However many statements it has, and whatever is written between them."""
    begun, written = threading.Event(), threading.Event()

    def look(connection):
        found = connection.scalar(_COUNT)
        begun.set()
        assert written.wait(30)
        return found, connection.scalar(_COUNT)

    async def check() -> None:
        async with opened(catalog_url) as catalog:
            looking = asyncio.create_task(catalog.read(look))
            assert await asyncio.to_thread(begun.wait, 30)
            await catalog.write(lambda c: c.execute(_ADD))
            written.set()
            assert await looking == (0, 0)
            assert await catalog.read(lambda c: c.scalar(_COUNT)) == 1

    asyncio.run(check())


def test_a_failed_transaction_changes_nothing(catalog_url: str):
    def fail(connection):
        connection.execute(_ADD)
        raise RuntimeError

    async def check() -> None:
        async with opened(catalog_url) as catalog:
            with pytest.raises(RuntimeError):
                await catalog.write(fail)
            assert await catalog.read(lambda c: c.scalar(_COUNT)) == 0

    asyncio.run(check())
