"""What the upload engine refuses, and that nobody else is disturbed by it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from tests.support.catalogs import opened
from tests.uploads.test_pieces import ALICE, engine

from dsx.blobs.local import LocalStore
from dsx.core.errors import (
    Conflict,
    Denied,
    Incomplete,
    Invalid,
    OffsetMismatch,
    Paused,
    StorageFull,
    TooLarge,
)
from dsx.core.transfers import NewUpload
from dsx.hub.files.files import Files
from dsx.hub.files.trash import Trash
from dsx.hub.limits import Limits, check_room
from dsx.hub.transfers import append_request
from dsx.hub.transfers.append_request import AppendRequest, BodySource
from dsx.hub.transfers.control import Controls
from dsx.hub.transfers.running_hash import RunningHashes
from dsx.hub.transfers.tasks import Tasks
from dsx.hub.transfers.uploads import Uploads

LENGTH = 10_000


@asynccontextmanager
async def begun(directory: Path) -> AsyncIterator[tuple[Uploads, Tasks, str]]:
    """Uploads and their tasks, and the id of one upload of `LENGTH` bytes."""
    async with opened(f"sqlite:///{directory / 'catalog.db'}") as catalog:
        blobs, controls = LocalStore(directory), Controls(catalog, grace=600, upload_expiry=3600)
        uploads = Uploads(catalog, blobs, controls, Limits())
        files, trash = Files(catalog, blobs), Trash(catalog, blobs, days=1)
        tasks = Tasks(catalog, controls, files, trash, uploads, ttl=3600)
        try:
            new = NewUpload(name="a", length=LENGTH)
            yield uploads, tasks, (await uploads.create(ALICE, new)).id
        finally:
            await controls.aclose()


def sending(data: bytes) -> BodySource:
    """The source of a request that brings *data*."""

    async def send(write: Callable[[bytes], object], _gate: Callable[[], Awaitable[None]]) -> None:
        if data:
            await asyncio.to_thread(write, data)

    return send


def test_a_paused_upload_takes_no_bytes(tmp_path: Path) -> None:
    async def check() -> None:
        async with begun(tmp_path) as (uploads, tasks, id_):
            append = partial(uploads.append, ALICE, id_, sending(b"x"), AppendRequest(0, 1))
            await tasks.pause(ALICE, id_)
            with pytest.raises(Paused):
                await append()
            await tasks.resume(ALICE, id_)
            assert (await append()).offset == 1

    asyncio.run(check())


def test_an_upload_has_so_many_gaps_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(append_request, "MAX_SPANS", 2)

    async def check() -> None:
        async with begun(tmp_path) as (uploads, _, id_):
            for start in (10, 20):
                await uploads.append(ALICE, id_, sending(b"x"), AppendRequest(start, 1, part=True))
            with pytest.raises(Conflict, match="gaps"):
                await uploads.append(ALICE, id_, sending(b"x"), AppendRequest(40, 1, part=True))
            await uploads.append(ALICE, id_, sending(b"x"), AppendRequest(11, 1, part=True))  # A19
            await uploads.append(ALICE, id_, sending(b"x"), AppendRequest(12, 1, part=True))

    asyncio.run(check())


def test_what_is_incomplete_is_not_finished(tmp_path: Path) -> None:
    async def check() -> None:
        async with begun(tmp_path) as (uploads, _, id_):
            await uploads.append(ALICE, id_, sending(b"x"), AppendRequest(0, 1))
            with pytest.raises(Incomplete) as refused:
                await uploads.finish(ALICE, id_)
            assert refused.value.details["missing"] == [[1, LENGTH]]

    asyncio.run(check())


def test_the_length_of_an_upload_does_not_change(tmp_path: Path) -> None:
    """Not even of one that is finished."""

    async def check() -> None:
        async with begun(tmp_path) as (uploads, _, id_):
            again = partial(uploads.append, ALICE, id_, sending(b""))
            with pytest.raises(Invalid, match="cannot change"):
                await again(AppendRequest(0, 0, length=LENGTH + 1))
            await uploads.append(ALICE, id_, sending(bytes(LENGTH)), AppendRequest(0, LENGTH))
            with pytest.raises(Invalid, match="cannot change"):
                await again(AppendRequest(LENGTH, 0, length=LENGTH + 1))
            assert (await again(AppendRequest(LENGTH, 0, length=LENGTH))).state == "finished"

    asyncio.run(check())


@pytest.mark.parametrize(
    ("wrong", "refusal"),
    [(AppendRequest(5, 10), OffsetMismatch), (AppendRequest(1000, LENGTH), TooLarge)],
    ids=["offset", "length"],
)
def test_who_is_refused_does_not_shut_out_who_is_writing(
    tmp_path: Path, wrong: AppendRequest, refusal: type[Exception]
) -> None:
    go = asyncio.Event()

    async def slow(write: Callable[[bytes], object], _gate: object) -> None:
        await asyncio.to_thread(write, bytes(1000))
        await go.wait()

    async def check() -> None:
        async with begun(tmp_path) as (uploads, _, id_):
            writing = asyncio.create_task(uploads.append(ALICE, id_, slow, AppendRequest(0)))
            while (await uploads.get(ALICE, id_)).offset < 1000:  # noqa: ASYNC110 (in the catalog)
                await asyncio.sleep(0.02)
            with pytest.raises(refusal):
                await uploads.append(ALICE, id_, sending(b""), wrong)
            go.set()
            assert (await writing).offset == 1000

    asyncio.run(check())


def test_a_new_generation_begins_a_new_hash(tmp_path: Path) -> None:
    """Who was shut out may have hashed what was not recorded."""

    async def check() -> None:
        async with engine(tmp_path) as (_, _, _, upload):
            tails = RunningHashes()
            tails.of(upload).feed(0, b"never recorded")
            assert tails.of(upload).hasher.size == 14
            assert tails.of(replace(upload, generation=1)).hasher.size == 0

    asyncio.run(check())


@pytest.mark.parametrize("length", [LENGTH, LENGTH // 2], ids=["whole", "half"])
def test_who_has_half_of_the_bytes_proves_nothing(tmp_path: Path, length: int) -> None:
    """An upload that says it is shorter quotes from its own length only."""
    data = bytes(LENGTH)
    expected = {"sha256": hashlib.sha256(data).hexdigest()}

    async def check() -> None:
        async with begun(tmp_path) as (uploads, _, id_):
            await uploads.append(ALICE, id_, sending(data), AppendRequest(0, LENGTH))
            new = NewUpload(name="b", length=length, expected=expected)
            upload = await uploads.create(ALICE, new)
            quoted = bytes.fromhex(upload.challenge or "") + data[:length]
            prove = uploads.prove(ALICE, upload.id, hashlib.sha256(quoted).hexdigest())
            if length == LENGTH:
                assert (await prove).sha256 == expected["sha256"]
            else:
                with pytest.raises(Denied):
                    await prove

    asyncio.run(check())


def test_room_that_is_promised_is_not_promised_again(tmp_path: Path) -> None:
    async def check() -> None:
        async with engine(tmp_path) as (catalog, _, _, upload):
            room = (upload.length or 0) + 5
            await catalog.write(partial(check_room, room=room, needed=5))
            with pytest.raises(StorageFull):
                await catalog.write(partial(check_room, room=room, needed=6))

    asyncio.run(check())
