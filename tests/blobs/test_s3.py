"""The bucket store against Ceph's S3 gateway: the contract's suite, and what a bucket adds."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from tests.support.ceph import SECRET_KEY, Ceph

from dsx.blobs import s3 as module
from dsx.blobs.s3 import S3Stage, S3Store, key
from dsx.core.digest import Digest, digest_of
from dsx.core.errors import DigestMismatch, StorageFull, Unavailable
from dsx.testing.blobs import BlobStoreSuite, StageSuite
from dsx.testing.blobs.suite import chunks

LARGE = random.Random(0).randbytes(40_000_000)
OTHER = Digest("1" * 64)
Work = Callable[[S3Store], Coroutine[Any, Any, None]]


@pytest.fixture(autouse=True)
def bucket(s3: Ceph, monkeypatch: pytest.MonkeyPatch) -> str:
    """A fresh bucket, and the variables that lead to it."""
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    return s3.create_bucket()


@pytest.fixture
def run(bucket: str, tmp_path: Path) -> Callable[[Work], None]:
    def run_(work: Work) -> None:
        asyncio.run(work(S3Store(f"s3://{bucket}", tmp_path)))

    return run_


@pytest.mark.ledger("S2.28")
class TestS3Store(BlobStoreSuite, StageSuite):
    @pytest.fixture(autouse=True)
    def _in_bucket(self, bucket: str) -> None:
        self.url = f"s3://{bucket}/some/prefix"

    def make(self, directory: Path) -> S3Store:
        return S3Store(self.url, directory)


async def staged(store: S3Store, data: bytes) -> S3Stage:
    stage = await store.stage()
    await asyncio.to_thread(stage.write, 0, data)
    assert isinstance(stage, S3Stage)
    return stage


async def content(store: S3Store, digest: Digest) -> bytes:
    _, stream = await store.open(digest)
    return b"".join([part async for part in stream])


def test_large_blobs_go_in_parts(run: Callable[[Work], None], s3: Ceph, bucket: str) -> None:
    async def work(store: S3Store) -> None:
        digest = digest_of(LARGE)
        await store.put(digest, len(LARGE), chunks(LARGE))
        assert await content(store, digest) == LARGE
        assert s3.objects(bucket) == [key(digest)]
        assert list(await store.stages()) == s3.unfinished(bucket) == []

    run(work)


def test_what_rotted_on_the_disk_is_not_stored(
    run: Callable[[Work], None], s3: Ceph, bucket: str
) -> None:
    async def work(store: S3Store) -> None:
        for data in (b"small", LARGE):
            stage = await staged(store, data)
            with pytest.raises(DigestMismatch):
                await stage.prepare(OTHER, len(data))
            with pytest.raises(DigestMismatch):
                await asyncio.to_thread(stage.seal, OTHER, len(data))
            assert s3.objects(bucket) == s3.unfinished(bucket) == []
            await stage.discard()

    run(work)


def test_sealing_what_was_prepared_sends_nothing(run: Callable[[Work], None], s3: Ceph) -> None:
    async def work(store: S3Store) -> None:
        stage = await staged(store, LARGE)
        await stage.prepare(digest_of(LARGE), len(LARGE))
        await stage.prepare(digest_of(LARGE), len(LARGE))
        begun = (await store.clients.quick.head_async(key(digest_of(LARGE))))["last_modified"]
        await asyncio.to_thread(stage.seal, digest_of(LARGE), len(LARGE))
        sealed = (await store.clients.quick.head_async(key(digest_of(LARGE))))["last_modified"]
        assert begun == sealed
        assert list(await store.stages()) == []

    run(work)


def test_sealing_what_was_removed_in_between(run: Callable[[Work], None]) -> None:
    async def work(store: S3Store) -> None:
        for data in (b"small", LARGE):
            digest = digest_of(data)
            stage = await staged(store, data)
            await stage.prepare(digest, len(data))
            await store.delete([digest])
            await asyncio.to_thread(stage.seal, digest, len(data))
            assert await content(store, digest) == data

    run(work)


def test_cancelled_preparation_leaves_nothing(
    run: Callable[[Work], None], s3: Ceph, bucket: str
) -> None:
    async def work(store: S3Store) -> None:
        stage = await staged(store, LARGE * 4)
        digest = digest_of(LARGE * 4)
        preparing = asyncio.ensure_future(stage.prepare(digest, 4 * len(LARGE)))
        while not s3.unfinished(bucket):  # noqa: ASYNC110 (it is the engine that tells)
            await asyncio.sleep(0.01)
        preparing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await preparing
        assert s3.objects(bucket) == s3.unfinished(bucket) == []
        await stage.discard()

    run(work)


def test_the_engine_restarts_under_a_reader(run: Callable[[Work], None], s3: Ceph) -> None:
    async def work(store: S3Store) -> None:
        digest = digest_of(LARGE)
        await store.put(digest, len(LARGE), chunks(LARGE))
        _, stream = await store.open(digest)
        head = await anext(stream)
        with s3.away():
            pass
        assert head + b"".join([part async for part in stream]) == LARGE

    run(work)


def test_unreachable(run: Callable[[Work], None], s3: Ceph) -> None:
    async def work(store: S3Store) -> None:
        stage = await staged(store, b"data")
        digest = digest_of(b"data")
        with s3.away():
            for ask in (
                store.open(digest),
                store.stat([digest, OTHER]),
                store.list(),
                store.delete([digest]),
                store.put(digest, 4, chunks(b"data")),
                stage.prepare(digest, 4),
                asyncio.to_thread(stage.seal, digest, 4),
                asyncio.to_thread(store.check),
            ):
                begun = time.monotonic()
                with pytest.raises(Unavailable):
                    await ask
                assert time.monotonic() - begun < 15
        await asyncio.to_thread(stage.seal, digest, 4)
        assert await content(store, digest) == b"data"

    run(work)


def test_hanging(run: Callable[[Work], None], s3: Ceph) -> None:
    """What others wait for gives up in seconds."""

    async def work(store: S3Store) -> None:
        begun = time.monotonic()
        with s3.frozen(), pytest.raises(Unavailable):
            await store.delete([OTHER])
        assert time.monotonic() - begun < 25
        await store.delete([OTHER])

    run(work)


def test_engines_without_room(run: Callable[[Work], None], s3: Ceph, bucket: str) -> None:
    quota = ("--quota-scope=bucket", "--uid=dsx", f"--bucket={bucket}")
    s3.admin("quota", "set", *quota, "--max-size=1M")
    s3.admin("quota", "enable", *quota)

    async def work(store: S3Store) -> None:
        with pytest.raises(StorageFull):
            await store.put(digest_of(LARGE), len(LARGE), chunks(LARGE))
        await store.put(digest_of(b"small"), 5, chunks(b"small"))

    run(work)


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("secret_access_key=hush-hush", "rejected the hub's credentials"),
        ("endpoint=http://127.0.0.1:9", "is not responding"),
    ],
)
def test_what_is_wrong_with_the_settings(
    bucket: str, query: str, why: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = S3Store(f"s3://{bucket}?{query}", tmp_path)
    with pytest.raises(Unavailable, match=why) as told:
        store.check()
    with pytest.raises(Unavailable, match=why) as refused:
        asyncio.run(store.stat([OTHER]))
    said = f"{told.value}{refused.value}{caplog.text}{store.clients.quick!r}"
    assert "hush-hush" not in said
    assert SECRET_KEY not in said


def test_buckets_that_do_not_exist(tmp_path: Path) -> None:
    store = S3Store("s3://nowhere", tmp_path)
    with pytest.raises(Unavailable, match="does not exist"):
        store.check()
    with pytest.raises(Unavailable, match="does not exist"):
        asyncio.run(store.put(digest_of(b"x"), 1, chunks(b"x")))


@pytest.mark.parametrize("url", ["s3://", "s3://id:secret@bucket", "s3://bucket?acces_key=x"])
def test_urls_that_name_no_bucket(url: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="DSX_STORAGE_URL"):
        S3Store(url, tmp_path)


def test_settings_in_the_url(bucket: str, s3: Ceph, tmp_path: Path) -> None:
    values = {name.removeprefix("AWS_").lower(): value for name, value in s3.environment.items()}
    with pytest.MonkeyPatch.context() as patch:
        for name in s3.environment:
            patch.delenv(name)
        query = "&".join(f"{name}={value}" for name, value in values.items())
        S3Store(f"s3://{bucket}?{query}", tmp_path).check()


def test_no_more_parts_than_s3_takes() -> None:
    for size in (0, module.PART, module.PART + 1, 10**9, 5 * 10**12):
        options = module._parts(size)
        assert options["use_multipart"] == (size > module.PART)
        assert size <= options["chunk_size"] * 10_000
