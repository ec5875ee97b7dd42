"""Pieces of the upload engine at moments that no client can choose."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from sqlalchemy import Connection, func, select
from tests.support.catalogs import opened

from dsx.blobs.local import LocalStore
from dsx.catalog.database import THREADS, Catalog
from dsx.catalog.schema.transfers import writers
from dsx.core.digest import digest_of
from dsx.core.errors import Conflict, Invalid, NotFound, Unavailable
from dsx.core.intervals import IntervalSet
from dsx.core.principals import Principal
from dsx.core.ranges import ByteRange
from dsx.core.transfers import NewUpload, Upload
from dsx.hub.files.files import Files
from dsx.hub.files.trash import Trash
from dsx.hub.limits import Limits
from dsx.hub.transfers.append_request import AppendRequest
from dsx.hub.transfers.control import FENCE, Controls
from dsx.hub.transfers.leases import EVERYTHING, Leases
from dsx.hub.transfers.running_hash import RunningHash
from dsx.hub.transfers.task_changes import Seen
from dsx.hub.transfers.tasks import Tasks
from dsx.hub.transfers.uploads import Uploads
from dsx.hub.transfers.writer import StageWriter, WriteFence

ALICE = Principal("alice")


@asynccontextmanager
async def engine(directory: Path) -> AsyncIterator[tuple[Catalog, Controls, LocalStore, Upload]]:
    """What the pieces need, and an upload."""
    async with opened(f"sqlite:///{directory / 'catalog.db'}") as catalog:
        blobs = LocalStore(directory)
        controls = Controls(catalog, grace=1, upload_expiry=3600)
        try:
            uploads = Uploads(catalog, blobs, controls, Limits())
            upload = await uploads.create(ALICE, NewUpload(name="a", length=10_000_000))
            yield catalog, controls, blobs, upload
        finally:
            await controls.aclose()


@pytest.mark.parametrize("size", [1000, 1_000_000])
def test_bytes_that_are_refused_are_not_hashed(tmp_path: Path, size: int) -> None:
    """Others feed the same tail meanwhile: it must never have seen what is not in the stage."""

    async def check() -> None:
        async with engine(tmp_path) as (_, controls, blobs, upload):
            stage = await blobs.stage(upload.id)
            data = bytes(size)
            await asyncio.to_thread(stage.write, 0, data)
            tail = RunningHash(0, ())
            async with controls.transfer(upload.id) as control:
                incoming = StageWriter(
                    stage,
                    WriteFence(control, controls),
                    tail,
                    start=0,
                    received=IntervalSet((ByteRange(size // 2, size),)),
                    limit=None,
                )
                with pytest.raises(Conflict):
                    await asyncio.to_thread(incoming.write, data[:-1] + b"x")
                assert tail.hasher.size == 0
                await asyncio.to_thread(incoming.write, data)
                assert tail.hasher.digest == hashlib.sha256(data).hexdigest()
            await stage.discard()

    asyncio.run(check())


@pytest.mark.timeout(60)
def test_a_writer_that_cannot_ask_the_catalog_is_told_to_come_later(tmp_path: Path) -> None:
    async def check() -> None:
        async with (
            engine(tmp_path) as (catalog, controls, _, upload),
            controls.transfer(upload.id) as control,
        ):
            stuck = [catalog.read(lambda _: time.sleep(8)) for _ in range(THREADS)]
            busy = asyncio.gather(*stuck)
            await asyncio.sleep(0.1)
            control.looked -= 10 * FENCE
            with pytest.raises(Unavailable):
                await asyncio.to_thread(WriteFence(control, controls).check)
            await busy

    asyncio.run(check())


def test_a_lease_ends_with_whoever_waited_for_it(tmp_path: Path) -> None:
    """Cancelled at any moment, it leaves no record that would hold others up."""

    def count(connection: Connection) -> int:
        return int(connection.execute(select(func.count()).select_from(writers)).scalar_one())

    async def check() -> None:
        async with engine(tmp_path) as (catalog, controls, _, upload):
            leases = Leases(catalog, controls)

            async def hold() -> None:
                async with leases.hold(upload.id, ByteRange(0, EVERYTHING), lambda _: True):
                    await asyncio.sleep(0.002)

            for step in range(60):
                holding = asyncio.create_task(hold())
                await asyncio.sleep(step / 10_000)
                holding.cancel()
                await asyncio.gather(holding, return_exceptions=True)
                assert await catalog.write(count) == 0

    asyncio.run(check())


@pytest.mark.parametrize("kind", ["stage", "blob"])
def test_what_is_opened_for_one_who_left_is_closed(tmp_path: Path, kind: str) -> None:
    def descriptors() -> int:
        found = 0
        for entry in Path("/proc/self/fd").iterdir():
            with suppress(FileNotFoundError):
                found += str(tmp_path) in str(entry.readlink())
        return found

    async def check() -> None:
        blobs = LocalStore(tmp_path)
        digest = digest_of(b"data")

        async def chunks() -> AsyncIterator[bytes]:
            yield b"data"

        await blobs.put(digest, 4, chunks())

        async def use() -> None:
            if kind == "stage":
                stage = await blobs.stage("a")
                stage.close()
            else:
                _, found = await blobs.open(digest)
                assert [chunk async for chunk in found] == [b"data"]

        for step in range(300):
            using = asyncio.create_task(use())
            for _ in range(step % 3):
                await asyncio.sleep(0)
            using.cancel()
            await asyncio.gather(using, return_exceptions=True)
        await asyncio.sleep(0.5)
        assert descriptors() == 0

    asyncio.run(check())


def test_nobody_else_sees_or_changes_an_upload_or_its_task(tmp_path: Path) -> None:
    """Not even that there is one: for them, all is as if its id were unknown."""

    async def check() -> None:
        async with engine(tmp_path) as (catalog, controls, blobs, upload):
            uploads = Uploads(catalog, blobs, controls, Limits())
            files, trash = Files(catalog, blobs), Trash(catalog, blobs, days=1)
            tasks = Tasks(catalog, controls, files, trash, uploads, ttl=3600)
            mallory, one = Principal("mallory"), upload.id
            pending = await tasks.create(ALICE)

            async def nothing(_write: object, _gate: object) -> None:
                """The source of no bytes."""

            tries = [
                uploads.get(mallory, one),
                uploads.take_over(mallory, one),
                uploads.append(mallory, one, nothing, AppendRequest(0, 0)),
                uploads.finish(mallory, one, length=0),
                uploads.prove(mallory, one, "0" * 64),
                uploads.abort(mallory, one),
                uploads.create(mallory, NewUpload(name="b", length=1, task=one)),
                uploads.create(mallory, NewUpload(name="b", length=1, task=pending.id)),
                tasks.get(mallory, one),
                tasks.pause(mallory, one),
                tasks.resume(mallory, one),
                tasks.abort(mallory, one),
                tasks.content(mallory, one),
                tasks.delete(mallory, one),
            ]
            for attempt in tries:
                with pytest.raises(NotFound):
                    await attempt
            with pytest.raises(Invalid):
                joined = NewUpload(name="b", kind="final", parts=(one,))
                await uploads.create(mallory, joined)
            assert await uploads.list(mallory, limit=10) == []
            assert await tasks.list(mallory, limit=10) == ([], None)
            assert await tasks.changed(mallory, Seen()) == []
            assert await uploads.get(ALICE, one) == upload

    asyncio.run(check())
