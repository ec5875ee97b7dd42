"""Single mistakes that would cost bytes, each made once and seen here: see the names."""

from __future__ import annotations

import asyncio
import random
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from tests.support.catalogs import opened
from tests.support.digests import sha256
from tests.support.failing_disk import ENOSPC, SHORT, WRITE, FailingDisk
from tests.support.hub import RunningHub, start_hub
from tests.support.waiting import eventually
from tests.support.wire import Wire
from tests.uploads.speakers import Tus, id_of
from tests.uploads.wires import dial, hang_up, lines

from dsx.blobs.local import LocalStore
from dsx.catalog import writers
from dsx.core.errors import Superseded
from dsx.core.principals import Principal
from dsx.core.ranges import ByteRange
from dsx.core.transfers import NewUpload
from dsx.hub.limits import Limits
from dsx.hub.transfers.append import AppendRequest
from dsx.hub.transfers.control import Controls
from dsx.hub.transfers.leases import EVERYTHING
from dsx.hub.transfers.uploads import Uploads

ALICE = Principal("alice")
DATA = random.Random(1).randbytes(300_000)


@pytest.fixture(autouse=True)
def _wires() -> Iterator[None]:
    yield
    hang_up()


def test_a_short_write_is_continued(tmp_path: Path) -> None:
    """Else a finished file has zeros in it, with a digest that says otherwise."""
    disk = FailingDisk(tmp_path / "data", tmp_path / "kept")
    hub = start_hub(tmp_path, **disk.environment)
    try:
        with disk.failing(1, SHORT, kinds=WRITE, repeat=3) as control:
            hub.store("short", DATA)
            assert control.failed
        assert content(hub, "short") == DATA
    finally:
        assert hub.stop() == 0


def test_bytes_that_did_not_fit_are_not_hashed(tmp_path: Path) -> None:
    """They are hashed beside being written; what comes in their place may be something else."""
    disk = FailingDisk(tmp_path / "data", tmp_path / "kept")
    hub = start_hub(tmp_path, **disk.environment)
    try:
        speaker = Tus(hub, "did not fit", len(DATA))
        speaker.create()
        assert speaker.append(0, DATA[:100_000]).ok
        with disk.failing(1, ENOSPC, kinds=WRITE):
            assert speaker.append(100_000, b"x" * 200_000).status_code == 507
        offset = speaker.offset()
        assert speaker.append(offset, DATA[offset:]).ok
        kept = DATA[:100_000] + b"x" * (offset - 100_000) + DATA[offset:]
        assert speaker.finish()["sha256"] == sha256(kept)
    finally:
        assert hub.stop() == 0


def test_a_new_stage_survives_a_power_loss(tmp_path: Path) -> None:
    """Its bytes are acknowledged: so has its name to be on the disk."""
    disk = FailingDisk(tmp_path / "data", tmp_path / "kept")
    hub = start_hub(tmp_path, **disk.environment)
    speaker = Tus(hub, "stage", len(DATA))
    speaker.create()
    assert speaker.append(0, DATA[:100_000]).ok
    hub.kill()
    disk.lose_power()
    speaker.hub = start_hub(tmp_path, **disk.environment)
    try:
        assert speaker.offset() >= 100_000
        assert speaker.append(speaker.offset(), DATA[speaker.offset() :]).ok
        assert content(speaker.hub, "stage") == DATA
    finally:
        assert speaker.hub.stop() == 0


def test_refused_bytes_are_not_hashed(hub: RunningHub) -> None:
    """After a PATCH that is refused in the middle, the digest is that of what came instead."""
    speaker = Tus(hub, "refused", len(DATA))
    speaker.create()
    assert speaker.append(0, DATA[:100_000]).ok
    method, path, fields = speaker.head_of(100_000, 0, last=False)
    wire = dial(hub)
    wire.send(wire.head(method, path, *lines(fields), "Transfer-Encoding: chunked"))
    send_chunk(wire, b"x" * 150_000)
    stage = hub.data_dir / "staging" / id_of(path)
    eventually(lambda: stage.stat().st_size >= 250_000)
    send_chunk(wire, b"x" * 150_000)
    assert wire.answer().status == 413
    offset = speaker.offset()
    if offset == 100_000:  # nothing was recorded on the way, as a rule
        assert speaker.append(offset, DATA[offset:]).ok
        assert speaker.finish()["sha256"] == sha256(DATA)
    else:
        wrong = DATA[:100_000] + b"x" * (offset - 100_000) + DATA[offset:]
        assert speaker.append(offset, DATA[offset:]).ok
        assert speaker.finish()["sha256"] == sha256(wrong)


def test_a_stopped_writer_is_shut_out(tmp_path: Path) -> None:
    """SIGSTOP in the middle of a PATCH; a newcomer takes over elsewhere; SIGCONT.

    What the stopped one has not recorded by then it never records, and a new generation begins:
    its running hash is nobody's.
    """
    first, second = start_hub(tmp_path), start_hub(tmp_path)
    try:
        speaker = Tus(first, "stopped", len(DATA))
        speaker.create()
        method, path, fields = speaker.head_of(0, len(DATA), last=True)
        wire = dial(first)
        head = wire.head(method, path, *lines(fields), f"Content-Length: {len(DATA)}")
        wire.send(head + DATA[:100_000])
        upload = f"/api/v1/uploads/{id_of(path)}"
        eventually(lambda: second.get(upload).json()["offset"] == 100_000)
        stage = first.data_dir / "staging" / id_of(path)
        wire.send(b"x" * 50_000)
        eventually(lambda: stage.stat().st_size == 150_000)
        first.process.send_signal(signal.SIGSTOP)
        recorded = second.get(upload).json()["offset"]
        generation = generation_of(second, path)
        speaker.hub = second
        assert speaker.offset() == recorded
        assert generation_of(second, path) == generation + 1
        first.process.send_signal(signal.SIGCONT)
        assert wire.answer().status == 409
        assert speaker.offset() == recorded
        assert speaker.append(recorded, DATA[recorded:]).ok
        right = DATA if recorded == 100_000 else DATA[:100_000] + b"x" * 50_000 + DATA[150_000:]
        assert speaker.finish()["sha256"] == sha256(right)
        assert content(second, "stopped") == right
    finally:
        first.process.send_signal(signal.SIGCONT)
        assert [first.stop(), second.stop()] == [0, 0]


def test_the_record_of_an_evicted_writer_is_refused(catalog_url: str, tmp_path: Path) -> None:
    """Even if nobody has told it so far that it was evicted."""

    async def check() -> None:
        async with opened(catalog_url) as catalog:
            controls = Controls(catalog, grace=1, upload_expiry=60)
            store = Uploads(catalog, LocalStore(tmp_path), controls, Limits())
            id_ = (await store.create(ALICE, NewUpload(name="a", length=8))).id

            async def evicted(write: Callable[[bytes], object], _: object) -> None:
                await asyncio.to_thread(write, b"late")
                everybody = partial(writers.overlapping, upload=id_, span=ByteRange(0, EVERYTHING))
                tokens = await catalog.read(everybody)
                await catalog.write(partial(writers.evict, tokens=tokens))

            with pytest.raises(Superseded):
                await store.append(ALICE, id_, evicted, AppendRequest(0))
            assert (await store.get(ALICE, id_)).offset == 0
            await controls.aclose()

    asyncio.run(check())


def test_commits_wait_for_the_disk_unless_they_need_not(catalog_url: str) -> None:
    """`synchronous_commit` and ``PRAGMA synchronous``, in turns on the same connections."""
    sqlite = catalog_url.startswith("sqlite")
    query = text("PRAGMA synchronous" if sqlite else "SHOW synchronous_commit")
    durable, quick = (2, 1) if sqlite else ("on", "off")

    async def check() -> None:
        async with opened(catalog_url) as catalog:

            def look(connection: Any) -> Any:
                return connection.execute(query).scalar_one()

            for wanted, found in ((True, durable), (False, quick), (True, durable)):
                assert await catalog.write(look, durable=wanted) == found

    asyncio.run(check())


def content(hub: RunningHub, name: str) -> bytes:
    (item,) = hub.get("/api/v1/files", params={"name": name}).json()["items"]
    return hub.get(item["url"]).content


def generation_of(hub: RunningHub, path: str) -> int:
    with closing(sqlite3.connect(hub.data_dir / "catalog.db")) as catalog:
        query = "SELECT generation FROM uploads WHERE id = ?"
        return int(catalog.execute(query, (id_of(path),)).fetchone()[0])


def send_chunk(wire: Wire, data: bytes) -> None:
    wire.send(f"{len(data):x}\r\n".encode() + data + b"\r\n")
