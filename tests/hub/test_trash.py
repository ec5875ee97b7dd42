"""Deleting, restoring, and what becomes of the bytes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.hub.test_files import ADMIN, house

from dsx.core.errors import AlreadyExists, NotFound
from dsx.core.model import FileQuery
from dsx.hub.files import files as hub_files
from dsx.hub.files import trash as hub_trash


def test_a_file_goes_to_the_trash_whole_and_comes_back_whole(catalog_url: str, tmp_path: Path):
    async def check() -> None:
        async with house(catalog_url, tmp_path) as hub:
            first = await hub.store("a", b"1", tags=("t",))
            second = await hub.store("a", b"2")
            await hub.trash.delete(ADMIN, second.id)
            for version in (first, second):
                with pytest.raises(NotFound):
                    await hub.files.get(ADMIN, version.id)
            (trashed,) = (await hub.trash.list(ADMIN, limit=10, cursor=None)).items
            assert (trashed.id, trashed.version) == (second.id, 2)
            assert trashed.expires - trashed.trashed == 24 * 3600 * 1_000_000
            replacement = await hub.store("a", b"3")
            assert replacement.version == 1
            with pytest.raises(AlreadyExists):
                await hub.trash.restore(ADMIN, second.id)
            back = await hub.trash.restore(ADMIN, second.id, name="b")
            assert (back.id, back.name, back.trashed) == (second.id, "b", None)
            versions = (await hub.files.versions(ADMIN, back.id)).items
            assert [(v.name, v.tags) for v in versions] == [("b", ()), ("b", ("t",))]
            assert await hub.read(first.id) == b"1"
            with pytest.raises(NotFound):
                await hub.trash.restore(ADMIN, second.id)

    asyncio.run(check())


def test_the_trash_is_listed_latest_first_in_pages(catalog_url: str, tmp_path: Path):
    async def check() -> None:
        async with house(catalog_url, tmp_path) as hub:
            for i in range(7):
                await hub.trash.delete(ADMIN, (await hub.store(f"f{i}")).id)
            names, cursor = [], None
            while True:
                page = await hub.trash.list(ADMIN, limit=3, cursor=cursor)
                names += [f.name for f in page.items]
                cursor = page.next
                if cursor is None:
                    break
            assert names == [f"f{i}" for i in reversed(range(7))]
            emptied = await hub.emptying.empty(ADMIN, patience=60)
            assert (emptied.state, emptied.done) == ("completed", 7)
            assert (await hub.trash.list(ADMIN, limit=3, cursor=None)).items == []
            await hub.clean()

    asyncio.run(check())


def test_bytes_stay_as_long_as_any_version_has_them(catalog_url: str, tmp_path: Path):
    async def check() -> None:
        async with house(catalog_url, tmp_path) as hub:
            one, two = await hub.store("one", b"same"), await hub.store("two", b"same")
            for version, left in ((one, 1), (two, 0)):
                await hub.trash.delete(ADMIN, version.id)
                await hub.trash.purge(ADMIN, version.id)
                assert len(await hub.blobs.list()) == left
                await hub.clean()

    asyncio.run(check())


def test_what_expired_is_dropped_and_nothing_else(
    catalog_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async def check() -> None:
        async with house(catalog_url, tmp_path) as hub:
            old, new = await hub.store("old", b"1"), await hub.store("new", b"2")
            await hub.trash.delete(ADMIN, old.id)
            day = 24 * 3600 * 1_000_000
            later = hub_files.now() + day
            monkeypatch.setattr(hub_trash, "now", lambda: later)
            await hub.trash.delete(ADMIN, new.id)
            assert await hub.trash.drop_expired(later) == 1
            assert [f.id for f in (await hub.trash.list(ADMIN, limit=9, cursor=None)).items] == [
                new.id
            ]
            await hub.clean()

    asyncio.run(check())


def test_a_purge_never_takes_the_bytes_of_an_upload(catalog_url: str, tmp_path: Path):
    """Equal content comes and goes at once: what was acknowledged is whole."""

    async def churn(hub, name: str) -> None:
        for _ in range(10):
            stored = await hub.store(name, b"same")
            assert await hub.read(stored.id) == b"same"
            await hub.trash.delete(ADMIN, stored.id)
            await hub.trash.purge(ADMIN, stored.id)

    async def check() -> None:
        async with house(catalog_url, tmp_path) as hub:
            await asyncio.gather(*(churn(hub, f"f{i}") for i in range(6)))
            assert (await hub.files.list(ADMIN, FileQuery())).items == []
            await hub.clean()

    asyncio.run(check())
