"""Removing bytes: never while others wait, never those of a new upload, never forgotten."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from sqlalchemy import text
from tests.hub.test_files import ADMIN
from tests.support.catalogs import opened
from tests.support.failing_disk import DEATH, RENAME, FailingDisk
from tests.support.hub import start_hub
from tests.support.waiting import eventually

from dsx.blobs.contract import BlobStore
from dsx.blobs.local import LocalStore
from dsx.blobs.memory import MemoryStore
from dsx.catalog.database import Catalog
from dsx.core.digest import Digest, digest_of
from dsx.core.model import FileVersion
from dsx.hub.files.files import Files
from dsx.hub.files.trash import Trash
from dsx.hub.integrity import blob_gc, orphans
from dsx.hub.integrity.orphans import Orphans


class Held:
    """Removals that wait until they are let go on, and say that they have begun."""

    def __init__(self) -> None:
        self.begun, self.go = asyncio.Event(), asyncio.Event()

    async def wait(self) -> None:
        self.begun.set()
        await asyncio.wait_for(self.go.wait(), 20)


class SlowMemory(MemoryStore):
    """As a bucket: removing is a long call, and nothing can be taken out of sight before."""

    held: Held

    async def delete(self, digests: Iterable[Digest]) -> None:
        wanted = list(digests)
        await self.held.wait()
        await super().delete(wanted)


class SlowLocal(LocalStore):
    """A directory on a disk that takes its time to free what was there."""

    held: Held

    async def sweep(self, ids: Iterable[str]) -> int:
        wanted = list(ids)
        if wanted:
            await self.held.wait()
        return await super().sweep(wanted)


@dataclass
class Room:
    catalog: Catalog
    blobs: BlobStore
    files: Files
    trash: Trash
    held: Held

    async def store(self, name: str, data: bytes) -> FileVersion:
        receiver = await self.files.receive(ADMIN, len(data))
        try:
            await asyncio.to_thread(receiver.write, data)
            return await self.files.create(ADMIN, receiver, name=name)
        finally:
            await receiver.abandon()

    async def purge(self, version: FileVersion) -> None:
        await self.trash.delete(ADMIN, version.id)
        await self.trash.purge(ADMIN, version.id)

    async def has(self, data: bytes) -> bool:
        found = await self.blobs.stat([digest_of(data)])
        return bool(found)

    async def tombstones(self) -> int:
        query = text("SELECT count(*) FROM tombstones")
        return await self.catalog.read(lambda connection: connection.execute(query).scalar_one())


@asynccontextmanager
async def room(
    url: str, store: type[SlowMemory | SlowLocal], directory: Path
) -> AsyncIterator[Room]:
    async with opened(url) as catalog:
        blobs = store() if store is SlowMemory else SlowLocal(directory / "blobs")
        blobs.held = Held()
        yield Room(catalog, blobs, Files(catalog, blobs), Trash(catalog, blobs, days=1), blobs.held)


@pytest.mark.parametrize("store", [SlowMemory, SlowLocal])
def test_removing_bytes_holds_no_transaction(
    catalog_url: str, tmp_path: Path, store: type[SlowMemory]
) -> None:
    """House fault: a long removal once ran in the one write transaction; others go on meanwhile."""

    async def check() -> None:
        async with room(catalog_url, store, tmp_path) as here:
            first = await here.store("a", b"one")
            purging = asyncio.ensure_future(here.purge(first))
            await asyncio.wait_for(here.held.begun.wait(), 20)
            await asyncio.wait_for(here.store("b", b"two"), 10)
            assert not purging.done()
            here.held.go.set()
            await purging
            assert not await here.has(b"one")
            assert await here.has(b"two")
            assert await here.tombstones() == 0

    asyncio.run(check())


@pytest.mark.parametrize("store", [SlowMemory, SlowLocal])
def test_equal_bytes_that_come_during_a_removal_stay(
    catalog_url: str, tmp_path: Path, store: type[SlowMemory], monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = threading.Event()

    def spare(*asked: Any) -> None:
        try:
            blob_gc.spare(*asked)
        except blob_gc.BeingRemoved:
            refused.set()
            raise

    monkeypatch.setattr("dsx.hub.files.files.spare", spare)

    async def check() -> None:
        async with room(catalog_url, store, tmp_path) as here:
            purging = asyncio.ensure_future(here.purge(await here.store("a", b"same")))
            await asyncio.wait_for(here.held.begun.wait(), 20)
            again = asyncio.ensure_future(here.store("b", b"same"))
            assert await asyncio.to_thread(refused.wait, 20)
            here.held.go.set()
            await asyncio.wait_for(asyncio.gather(purging, again), 20)
            assert await here.has(b"same")
            assert await here.tombstones() == 0

    asyncio.run(check())


def test_a_crash_before_the_removal_forgets_nothing(
    catalog_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The collector carries out what tombstones say; an upload before that keeps its bytes."""

    async def check() -> None:
        async with room(catalog_url, SlowLocal, tmp_path) as here:
            here.held.go.set()
            with monkeypatch.context() as patched:
                patched.setattr(
                    "dsx.hub.files.trash.remove_unknown", _nothing
                )  # as if it had died there
                for data in (b"gone", b"again"):
                    await here.purge(await here.store(data.decode(), data))
            assert await here.tombstones() == 2
            await here.store("back", b"again")
            assert await blob_gc.remove_due(here.catalog, here.blobs) == 1
            assert not await here.has(b"gone")
            assert await here.has(b"again")
            assert await here.tombstones() == 0

    asyncio.run(check())


def test_a_remover_that_died_is_taken_over_from(
    catalog_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def check() -> None:
        async with room(catalog_url, SlowMemory, tmp_path) as here:
            stored = await here.store("a", b"same")
            purging = asyncio.ensure_future(here.purge(stored))
            await asyncio.wait_for(here.held.begun.wait(), 20)
            here.held.go.set()
            monkeypatch.setattr(here.catalog, "write", _dead)  # it cannot say that it is done
            with pytest.raises(ConnectionError):
                await purging
            monkeypatch.undo()
            assert await blob_gc.remove_due(here.catalog, here.blobs) == 0  # it may be at it still
            monkeypatch.setattr(blob_gc, "LEASE", 0)
            assert await blob_gc.remove_due(here.catalog, here.blobs) == 1
            assert await here.tombstones() == 0

    asyncio.run(check())


async def _nothing(*_: object) -> None:
    pass


async def _dead(*_: object, **__: object) -> None:
    raise ConnectionError


async def _put(store: BlobStore, *contents: bytes) -> None:
    for data in contents:

        async def chunks(data: bytes = data) -> AsyncIterator[bytes]:
            yield data

        await store.put(digest_of(data), len(data), chunks())


def test_m6_orphans_go_after_a_grace(catalog_url: str, tmp_path: Path) -> None:
    """On any store; what is recorded meanwhile stays."""

    async def check() -> None:
        async with room(catalog_url, SlowMemory, tmp_path) as here:
            here.held.go.set()
            await _put(here.blobs, b"left", b"wanted again")
            await here.store("kept", b"kept")
            patient = Orphans(here.catalog, here.blobs, grace=3600)
            assert await patient.find() == 2
            assert await blob_gc.remove_due(here.catalog, here.blobs) == 0
            await here.store("c", b"wanted again")
            assert await Orphans(here.catalog, here.blobs, grace=0).find() == 1
            assert await blob_gc.remove_due(here.catalog, here.blobs) == 1
            found = [await here.has(data) for data in (b"left", b"wanted again", b"kept")]
            assert found == [False, True, True]

    asyncio.run(check())


def test_m6_a_catalog_that_knows_little_removes_nothing(catalog_url: str, tmp_path: Path) -> None:
    """It may have been restored from an old backup."""

    async def check() -> None:
        async with room(catalog_url, SlowMemory, tmp_path) as here:
            await _put(here.blobs, *(b"%d" % number for number in range(30)))
            assert await Orphans(here.catalog, here.blobs, grace=0).find() == 30
            assert await here.tombstones() == 0

    asyncio.run(check())


def test_m6_many_are_many_however_few_are_remembered(
    catalog_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has very many orphans keeps only some of them in memory."""
    monkeypatch.setattr(orphans, "_MOST", 10)

    async def check() -> None:
        async with room(catalog_url, SlowMemory, tmp_path) as here:
            await _put(here.blobs, *(b"%d" % number for number in range(30)))
            assert await Orphans(here.catalog, here.blobs, grace=0).find() == 30
            assert await here.tombstones() == 0

    asyncio.run(check())


def test_m6_killed_between_rename_and_commit(tmp_path: Path) -> None:
    """A real hub, killed right after its blob got its name; the next one removes it."""
    disk = FailingDisk(tmp_path / "data", tmp_path / "kept")
    hub = start_hub(tmp_path, **disk.environment)
    with disk.failing(1, DEATH, kinds=RENAME) as control:
        with suppress(requests.ConnectionError):
            hub.store("never", b"acknowledged")
        hub.process.wait(20)
        assert control.failed
    hub.kill()
    blob = hub.data_dir / "blobs" / digest_of(b"acknowledged")[:2] / digest_of(b"acknowledged")
    assert blob.exists()
    hub = start_hub(tmp_path, DSX_ORPHAN_GRACE="0.2", DSX_COLLECT_INTERVAL="0.2")
    try:
        eventually(lambda: not blob.exists())
        assert hub.get("/api/v1/files", params={"name": "never"}).json()["items"] == []
        hub.store("now", b"acknowledged")
        assert blob.exists()
    finally:
        assert hub.stop() == 0
