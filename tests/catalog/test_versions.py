"""Versions, numbers and names of files in the catalog."""

from __future__ import annotations

import asyncio
import sys

import pytest
from tests.support.catalogs import opened
from tests.support.stored import OWNER, add

from dsx.catalog import files, trash
from dsx.core.errors import AlreadyExists, NotFound

_WRITE = """
import asyncio, sys
from dsx.catalog.database import Catalog
from tests.support.stored import add
async def main():
    catalog = Catalog(sys.argv[1])
    for _ in range(int(sys.argv[2])):
        await asyncio.gather(*(catalog.write(lambda c: add(c, "same.bin")) for _ in range(5)))
    await catalog.aclose()
asyncio.run(main())
"""


def test_the_same_name_makes_versions_of_one_file(catalog_url: str):
    async def check() -> None:
        async with opened(catalog_url) as catalog:
            first = await catalog.write(lambda c: add(c, "a"))
            second = await catalog.write(lambda c: add(c, "a"))
            other = await catalog.write(lambda c: add(c, "a", owner="bob"))
            assert (first.version, second.version, other.version) == (1, 2, 1)
            assert first.file == second.file != other.file
            assert first.file not in {first.id, second.id}
            assert await catalog.read(lambda c: files.find(c, OWNER, "a")) == second
            assert await catalog.read(lambda c: files.find(c, "bob", "a")) == other
            assert await catalog.read(lambda c: files.find(c, "carol", "a")) is None
            newest, oldest = await catalog.read(lambda c: files.versions(c, first.file))
            assert (newest.latest, oldest.latest) == (True, False)
            for ref in (second.id, str(second.number)):
                assert await catalog.read(lambda c, r=ref: files.get(c, r)) == second

    asyncio.run(check())


@pytest.mark.parametrize(
    "ref", ["", "0", "01", "-1", "\uff11", "9" * 40, "\0", "\ud800", "a" * 10000, "%"]
)
def test_a_ref_that_names_nothing_is_not_found(catalog_url: str, ref: str):
    async def check() -> None:
        async with opened(catalog_url) as catalog:
            await catalog.write(lambda c: add(c, "a"))
            with pytest.raises(NotFound):
                await catalog.read(lambda c: files.get(c, ref))

    asyncio.run(check())


def test_processes_add_versions_to_one_name_at_once(catalog_url: str):
    async def check() -> None:
        async with opened(catalog_url) as catalog:
            command = [sys.executable, "-W", "error", "-c", _WRITE, catalog_url, "10"]
            writers = [await asyncio.create_subprocess_exec(*command) for _ in range(2)]
            assert [await writer.wait() for writer in writers] == [0, 0]
            newest = await catalog.read(lambda c: files.find(c, OWNER, "same.bin"))
            assert newest is not None
            versions = await catalog.read(lambda c: files.versions(c, newest.file))
            assert [version.version for version in versions] == list(range(100, 0, -1))
            assert [version.latest for version in versions] == [True] + [False] * 99

    asyncio.run(check())


def test_a_number_is_never_reused(catalog_url: str):
    async def check() -> None:
        async with opened(catalog_url) as catalog:
            seen = set()
            for _ in range(5):
                version = await catalog.write(lambda c: add(c, "a"))
                assert version.number not in seen
                seen.add(version.number)
                await catalog.write(lambda c, v=version: trash.put_file(c, v.file, 1, 2))
                deleted = trash.Deleted(version.file, 1)
                await catalog.write(lambda c, d=deleted: trash.drop_deleted(c, [d]))

    asyncio.run(check())


def test_a_taken_name_stops_rename_and_restore(catalog_url: str):
    async def check() -> None:
        async with opened(catalog_url) as catalog:
            first = await catalog.write(lambda c: add(c, "a"))
            other = await catalog.write(lambda c: add(c, "b"))
            with pytest.raises(AlreadyExists):
                await catalog.write(lambda c: files.rename(c, other.file, "a"))
            await catalog.write(lambda c: trash.put_file(c, first.file, 1, 2))
            await catalog.write(lambda c: files.rename(c, other.file, "a"))
            trashed = await catalog.read(lambda c: files.get(c, first.id, trashed=True))
            with pytest.raises(AlreadyExists):
                await catalog.write(lambda c: trash.restore(c, trashed))
            assert (await catalog.read(lambda c: files.find(c, OWNER, "a"))).id == other.id

    asyncio.run(check())
