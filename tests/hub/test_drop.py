"""Files in the drop go to the trash whole, once, and by admins only."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from tests.hub.test_files import ADMIN, BOB, House, house

from dsx.core.errors import Conflict, DSXError, NotFound, PreconditionFailed, TooLarge
from dsx.core.model import FileQuery
from dsx.core.principals import ResourceScope
from dsx.hub.drop import Drop
from dsx.hub.files.receiver import Receiver

MIB = 1024**2


@asynccontextmanager
async def with_drop(
    url: str, root: Path, **settings: int
) -> AsyncIterator[tuple[House, Drop, Path]]:
    directory = root / "drop"
    directory.mkdir()
    async with house(url, root, **settings) as hub:
        yield hub, Drop(directory, hub.files, hub.trash), directory


async def trashed(hub: House) -> list[str]:
    return [item.name for item in (await hub.trash.list(ADMIN, limit=10, cursor=None)).items]


def test_it_goes_to_the_trash_and_comes_back(catalog_url: str, tmp_path: Path):
    async def check() -> None:
        async with with_drop(catalog_url, tmp_path) as (hub, drop, directory):
            (directory / "a.csv").write_bytes(b"1,2" * MIB)
            version = await drop.delete(ADMIN, "a.csv")
            assert not (directory / "a.csv").exists()
            assert (await hub.files.list(ADMIN, FileQuery())).items == []
            await hub.trash.restore(ADMIN, version.id)
            assert await hub.read(version.id) == b"1,2" * MIB
            await hub.clean()

    asyncio.run(check())


@pytest.mark.parametrize(
    "who",
    [BOB, replace(ADMIN, places=(ResourceScope("category", "default"),))],
    ids=["member", "limited"],
)
def test_for_others_it_is_not_there(catalog_url: str, tmp_path: Path, who):
    async def check() -> None:
        async with with_drop(catalog_url, tmp_path) as (_, drop, directory):
            (directory / "a").write_bytes(b"x")
            with pytest.raises(NotFound):
                await drop.delete(who, "a")
            assert (directory / "a").exists()

    asyncio.run(check())


def test_many_who_delete_it_at_once(catalog_url: str, tmp_path: Path):
    async def check() -> None:
        async with with_drop(catalog_url, tmp_path) as (hub, drop, directory):
            (directory / "a").write_bytes(os.urandom(4 * MIB))
            results = await asyncio.gather(
                *(drop.delete(ADMIN, "a") for _ in range(8)), return_exceptions=True
            )
            assert sum(not isinstance(result, BaseException) for result in results) == 1
            failures = [result for result in results if isinstance(result, BaseException)]
            assert all(isinstance(failure, Conflict | NotFound) for failure in failures)
            assert await trashed(hub) == ["a"]
            await hub.clean()

    asyncio.run(check())


def test_what_is_being_written_stays(
    catalog_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Somebody appends to it while it is read; or replaces it, once it has been."""

    async def check() -> None:
        async with with_drop(catalog_url, tmp_path) as (hub, drop, directory):
            path = directory / "a"
            path.write_bytes(b"x" * 3 * MIB)
            write = Receiver.write

            def meddle(receiver: Receiver, data: bytes) -> None:
                if receiver.size == 0:
                    with path.open("ab") as file:
                        file.write(b"more")
                write(receiver, data)

            monkeypatch.setattr(Receiver, "write", meddle)
            with pytest.raises(Conflict):
                await drop.delete(ADMIN, "a")
            assert path.stat().st_size == 3 * MIB + 4
            assert await trashed(hub) == []

            def replaced(receiver: Receiver, data: bytes) -> None:
                other = directory / "other"
                other.write_bytes(b"other")
                other.rename(path)
                write(receiver, data)

            path.write_bytes(b"small")
            monkeypatch.setattr(Receiver, "write", replaced)
            await drop.delete(ADMIN, "a")
            assert path.read_bytes() == b"other"
            assert await trashed(hub) == ["a"]
            await hub.clean()

    asyncio.run(check())


def test_what_cannot_be_stored_stays(catalog_url: str, tmp_path: Path):
    async def check() -> None:
        async with with_drop(catalog_url, tmp_path, quota=10) as (hub, drop, directory):
            for name, data, failure in [
                ("big", b"x" * 11, TooLarge),
                ("taken", b"x", PreconditionFailed),
            ]:
                (directory / name).write_bytes(data)
                if name == "taken":
                    await hub.store(name)
                with pytest.raises(failure):
                    await drop.delete(ADMIN, name)
                assert (directory / name).read_bytes() == data
            assert await trashed(hub) == []
            await hub.clean()

    asyncio.run(check())


def test_links_and_devices_are_not_files(catalog_url: str, tmp_path: Path):
    async def check() -> None:
        async with with_drop(catalog_url, tmp_path) as (_, drop, directory):
            (directory / "real").mkdir()
            (directory / "real" / "x").write_bytes(b"x")
            (directory / "alias").symlink_to("real")
            (directory / "link").symlink_to("real/x")
            os.mkfifo(directory / "pipe")
            for name in ["alias/x", "link", "pipe", "real", "../drop/real/x", "", "/", "a\0b"]:
                with pytest.raises(NotFound):
                    await drop.delete(ADMIN, name)
            assert (directory / "real" / "x").exists()
            await drop.delete(ADMIN, "real/x")

    asyncio.run(check())


def test_there_need_not_be_a_drop(catalog_url: str, tmp_path: Path):
    async def check() -> None:
        async with house(catalog_url, tmp_path) as hub:
            with pytest.raises(DSXError) as caught:
                await Drop(tmp_path / "none", hub.files, hub.trash).delete(ADMIN, "a")
            assert type(caught.value) is NotFound

    asyncio.run(check())
