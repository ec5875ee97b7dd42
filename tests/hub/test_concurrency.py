"""Transactions that meet: pages of one moment, no deadlocks, no more locks than there are."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import Connection, event, text
from tests.hub.test_files import ADMIN, House, house
from tests.support.postgres import Cluster

from dsx.catalog.database import Catalog
from dsx.core.model import FileQuery
from dsx.hub.clock import now

_DIGEST = "lpad(to_hex(i % 4096), 3, '0') || md5(i::text) || substr(md5(i::text), 1, 29)"


def catalog_of(hub: House) -> Catalog:
    catalog: Catalog = hub.files._catalog
    return catalog


@pytest.mark.parametrize("listing", ["files", "trash"])
def test_a_page_is_of_one_moment(catalog_url: str, tmp_path: Path, listing: str):
    """A file that is purged between the statements that make a page is still on it."""

    async def check() -> None:
        async with house(catalog_url, tmp_path) as hub:
            stored = [await hub.store(f"f{i}", b"%d" % i) for i in range(3)]
            if listing == "trash":
                for version in stored:
                    await hub.trash.delete(ADMIN, version.id)
            loop, meddled = asyncio.get_running_loop(), []

            async def drop() -> None:
                if listing == "files":
                    await hub.trash.delete(ADMIN, stored[1].id)
                await hub.trash.purge(ADMIN, stored[1].id)

            def meddle(_connection, _cursor, statement: str, *_rest) -> None:
                if "number IN" in statement and not meddled:
                    meddled.append(statement)
                    asyncio.run_coroutine_threadsafe(drop(), loop).result(10)

            event.listen(catalog_of(hub).engine, "before_cursor_execute", meddle)
            if listing == "files":
                page = await hub.files.list(ADMIN, FileQuery())
            else:
                page = await hub.trash.list(ADMIN, limit=10, cursor=None)
            assert meddled
            assert len(page.items) == 3

    asyncio.run(check())


def test_the_trash_can_be_emptied_many_times_at_once(catalog_url: str, tmp_path: Path):
    """The collector of every process drops what expired while somebody empties the trash."""

    async def check() -> None:
        async with house(catalog_url, tmp_path) as hub:
            hub.trash._keep = 0
            for _ in range(5):
                stored = [await hub.store(f"f{i}", b"%d" % i) for i in range(40)]
                for version in reversed(stored):
                    await hub.trash.delete(ADMIN, version.id)
                await asyncio.gather(
                    *(hub.emptying.empty(ADMIN, patience=60) for _ in range(3)),
                    *(hub.trash.drop_expired(now()) for _ in range(3)),
                )
            await hub.clean()

    asyncio.run(check())


def test_a_file_of_very_many_versions_can_be_purged(postgres: Cluster, tmp_path: Path):
    """PostgreSQL's locks are a few thousand for all its clients together."""

    def add_versions(connection: Connection) -> None:
        connection.execute(
            text(f"INSERT INTO blobs SELECT {_DIGEST}, 1, 1, 1 FROM generate_series(2, 9000) i")
        )
        columns = "owner, name, category, content_type, size, created, metadata, tags, trashed"
        connection.execute(
            text(
                f"INSERT INTO files (id, file, version, latest, sha256, {columns})"
                f" SELECT substr(file, 25) || '-' || i, file, i, false, {_DIGEST}, {columns}"
                " FROM files, generate_series(2, 9000) i"
            )
        )

    async def check() -> None:
        async with house(postgres.create_database(), tmp_path) as hub:
            await hub.store("the same versions")  # so that no bytes have to go
            stored = await hub.store("f")
            await catalog_of(hub).write(add_versions)
            await hub.trash.delete(ADMIN, stored.id)
            await hub.trash.purge(ADMIN, stored.id)
            assert (await hub.trash.list(ADMIN, limit=1, cursor=None)).items == []

    asyncio.run(check())
