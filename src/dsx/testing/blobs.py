"""Conformance suite for `dsx.blobs.contract`: one test per guarantee.

Subclass `BlobStoreSuite` (and `StageSuite`, if the store is `Stages`) in a pytest module and define
how to create a store::

    class TestMyStore(BlobStoreSuite):
        def make(self, directory): return MyStore(directory)
"""

from __future__ import annotations

import asyncio
import random
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from dsx.blobs.contract import BlobStore, Stages
from dsx.core.digest import Digest, digest_of
from dsx.core.errors import DigestMismatch, DSXError, Invalid, NotFound, RangeUnsatisfiable
from dsx.core.ranges import ByteRange

T = TypeVar("T")
SOME = random.Random(0).randbytes(3_000_000)  # noqa: S311 (test data)
WRONG = Digest("0" * 64)


class _Suite(ABC):
    @abstractmethod
    def make(self, directory: Path) -> Any:
        """Create an empty store, which may use *directory* for its files."""

    def run(self, directory: Path, work: Callable[[Any], Coroutine[Any, Any, T]]) -> T:
        """Run *work* on a new store, then close the store twice: closing is idempotent."""

        async def whole() -> T:
            store = self.make(directory)
            try:
                return await work(store)
            finally:
                await store.aclose()
                await store.aclose()

        return asyncio.run(whole())


class BlobStoreSuite(_Suite):
    """The guarantees of every `BlobStore`."""

    def test_what_was_put_comes_back(self, tmp_path: Path) -> None:
        """A stored blob is returned complete, in chunks of bounded size."""

        async def work(store: BlobStore) -> None:
            for data in (b"", b"x", SOME):
                await store.put(digest_of(data), len(data), chunks(data))
                size, stream = await store.open(digest_of(data))
                parts = [part async for part in stream]
                assert (size, b"".join(parts)) == (len(data), data)
                assert all(len(part) <= 16 * 1024 * 1024 for part in parts)

        self.run(tmp_path, work)

    def test_ranges(self, tmp_path: Path) -> None:
        """Any range of a blob can be read; a range beyond its end is refused."""

        async def work(store: BlobStore) -> None:
            digest = await put(store, SOME)
            for start, stop in ((0, 1), (5, 5), (1_000_000, 2_500_000), (len(SOME) - 1, len(SOME))):
                size, stream = await store.open(digest, ByteRange(start, stop))
                assert size == len(SOME)
                assert b"".join([part async for part in stream]) == SOME[start:stop]
            await fails(RangeUnsatisfiable, store.open(digest, ByteRange(0, len(SOME) + 1)))

        self.run(tmp_path, work)

    def test_absent_blobs(self, tmp_path: Path) -> None:
        """For absent blobs, open raises immediately, stat omits them, and delete does nothing."""

        async def work(store: BlobStore) -> None:
            await fails(NotFound, store.open(WRONG))
            assert await store.stat([WRONG]) == {}
            await store.delete([WRONG])

        self.run(tmp_path, work)

    def test_wrong_bytes_are_refused(self, tmp_path: Path) -> None:
        """Wrong, missing or excess bytes are refused, and nothing is stored."""

        async def work(store: BlobStore) -> None:
            digest = digest_of(SOME)
            await fails(DigestMismatch, store.put(WRONG, len(SOME), chunks(SOME)))
            await fails(DigestMismatch, store.put(digest, len(SOME), chunks(SOME[:-1])))
            await fails(DigestMismatch, store.put(digest, len(SOME), chunks(SOME + b"x")))
            assert list(await store.list()) == []

        self.run(tmp_path, work)

    def test_failing_source(self, tmp_path: Path) -> None:
        """An exception from the chunks is propagated, and nothing is stored."""

        async def broken() -> AsyncIterator[bytes]:
            yield SOME[:10]
            raise ZeroDivisionError

        async def work(store: BlobStore) -> None:
            try:
                await store.put(digest_of(SOME), len(SOME), broken())
            except ZeroDivisionError:
                pass
            else:
                raise AssertionError("the source's failure was swallowed")
            assert list(await store.list()) == []
            assert not isinstance(store, Stages) or list(await store.stages()) == []

        self.run(tmp_path, work)

    def test_put_is_idempotent(self, tmp_path: Path) -> None:
        """Repeated and concurrent puts of the same bytes store one blob."""

        async def work(store: BlobStore) -> None:
            digest = digest_of(SOME)
            await asyncio.gather(*(store.put(digest, len(SOME), chunks(SOME)) for _ in range(8)))
            await store.put(digest, len(SOME), chunks(SOME))
            assert list(await store.list()) == [digest]
            assert await store.stat([digest, WRONG]) == {digest: len(SOME)}

        self.run(tmp_path, work)

    def test_confirm(self, tmp_path: Path) -> None:
        """Only an existing blob of the right length is confirmed."""

        async def work(store: BlobStore) -> None:
            digest = await put(store, SOME)
            assert await store.confirm(digest, len(SOME))
            assert not await store.confirm(digest, len(SOME) - 1)
            assert not await store.confirm(WRONG, len(SOME))

        self.run(tmp_path, work)

    def test_list_pages(self, tmp_path: Path) -> None:
        """Pages are ascending and complete, start after the cursor, and respect the limit."""

        async def work(store: BlobStore) -> None:
            digests = sorted([await put(store, b"%d" % number) for number in range(25)])
            assert list(await store.list(digests[3], 2)) == digests[4:6]
            found: list[Digest] = []
            while page := await store.list(found[-1] if found else None, 10):
                assert len(page) <= 10  # noqa: PLR2004 (the limit asked for)
                found += page
            assert found == digests

        self.run(tmp_path, work)

    def test_delete(self, tmp_path: Path) -> None:
        """Only the deleted blob is gone, and it can be stored again."""

        async def work(store: BlobStore) -> None:
            first, second = await put(store, b"first"), await put(store, b"second")
            await store.delete([first])
            assert await store.stat([first, second]) == {second: 6}
            await put(store, b"first")
            assert await store.stat([first]) == {first: 5}

        self.run(tmp_path, work)

    def test_quarantine(self, tmp_path: Path) -> None:
        """Quarantined blobs are hidden and listed, and can be restored or permanently deleted."""

        async def work(store: BlobStore) -> None:
            begun = time.time()
            back, gone, kept = [await put(store, name) for name in (b"back", b"gone", b"kept")]
            await store.quarantine([back, gone, WRONG])
            await fails(NotFound, store.open(back))
            assert await store.stat([back, gone, kept]) == {kept: 4}
            assert list(await store.list()) == [kept]
            found = await store.quarantined()
            assert [one.digest for one in found] == sorted([back, gone])
            assert all(one.size == 4 for one in found)  # noqa: PLR2004 (each has four letters)
            assert all(abs(one.since / 1e6 - begun) < 60 for one in found)  # noqa: PLR2004
            assert list(await store.quarantined(found[0].digest, 1)) == [found[1]]
            await store.release([back, WRONG])
            await store.expunge([gone, WRONG])
            assert list(await store.quarantined()) == []
            assert await store.stat([back, gone, kept]) == {back: 4, kept: 4}
            _, stream = await store.open(back)
            assert b"".join([part async for part in stream]) == b"back"

        self.run(tmp_path, work)

    def test_quarantined_content_can_be_stored_anew(self, tmp_path: Path) -> None:
        """The new blob is visible, whatever happens to the quarantined one."""

        async def work(store: BlobStore) -> None:
            digest = await put(store, SOME)
            await store.quarantine([digest])
            await put(store, SOME)
            assert len(await store.quarantined()) == 1
            await store.quarantine([digest])
            assert len(await store.quarantined()) == 1
            await put(store, SOME)
            await store.release([digest])
            assert list(await store.quarantined()) == []
            assert await store.stat([digest]) == {digest: len(SOME)}

        self.run(tmp_path, work)

    def test_label(self, tmp_path: Path) -> None:
        """The label is stored beside the blobs and is not listed as one."""

        async def work(store: BlobStore) -> None:
            assert await store.label() is None
            for note in (b"first", b"", b"x" * 4096):
                await store.set_label(note)
                assert await store.label() == note
            assert list(await store.list()) == []

        self.run(tmp_path, work)

    def test_a_reader_outlives_the_blob(self, tmp_path: Path) -> None:
        """A reader that has started gets all bytes, even if the blob is deleted."""

        async def work(store: BlobStore) -> None:
            digest = await put(store, SOME)
            _, stream = await store.open(digest)
            head = await anext(stream)
            await store.delete([digest])
            assert head + b"".join([part async for part in stream]) == SOME

        self.run(tmp_path, work)


class StageSuite(_Suite):
    """The guarantees of every `Stages`."""

    def test_sealing_what_is_in_quarantine(self, tmp_path: Path) -> None:
        """Sealing the bytes of a quarantined blob makes them visible, with or without prepare."""

        async def work(store: Any) -> None:
            digest = digest_of(SOME)
            for prepared in (False, True):
                await put(store, SOME)
                await store.quarantine([digest])
                stage = await store.stage()
                stage.write(0, SOME)
                stage.sync()
                if prepared:
                    await stage.prepare(digest, len(SOME))
                await asyncio.to_thread(stage.seal, digest, len(SOME))
                _, stream = await store.open(digest)
                assert b"".join([part async for part in stream]) == SOME
                await store.delete([digest])
            assert [one.digest for one in await store.quarantined()] == [digest]

        self.run(tmp_path, work)

    def test_parts_in_any_order_become_a_blob(self, tmp_path: Path) -> None:
        """Parts written twice at their offsets by several threads can be sealed."""

        async def work(store: Any) -> None:
            stage = await store.stage(reserve=len(SOME))
            size = 100_000
            offsets = list(range(0, len(SOME), size)) * 2
            random.Random(1).shuffle(offsets)  # noqa: S311 (test data)
            with ThreadPoolExecutor(4) as pool:
                list(pool.map(lambda at: stage.write(at, SOME[at : at + size]), offsets))
            assert await asyncio.to_thread(stage.read, 50, 100) == SOME[50:150]
            await asyncio.to_thread(stage.sync)
            assert list(await store.list()) == []
            stage.seal(digest_of(SOME), len(SOME))
            stage.seal(digest_of(SOME), len(SOME))
            await stage.discard()
            _, stream = await store.open(digest_of(SOME))
            assert b"".join([part async for part in stream]) == SOME
            assert list(await store.stages()) == []

        self.run(tmp_path, work)

    def test_reopened_stages_keep_their_bytes(self, tmp_path: Path) -> None:
        """A closed stage can be reopened by id and continued."""

        async def work(store: Any) -> None:
            stage = await store.stage("mine")
            stage.write(0, b"begin ")
            stage.close()
            stage.close()
            again = await store.stage("mine")
            again.write(6, b"end")
            again.seal(digest_of(b"begin end"), 9)
            assert await store.stat([digest_of(b"begin end")]) == {digest_of(b"begin end"): 9}

        self.run(tmp_path, work)

    def test_ids(self, tmp_path: Path) -> None:
        """Ids consist of 1 to 64 letters, digits, - and _; an empty id is invalid."""

        async def work(store: Any) -> None:
            for name in ("", ".", "..", "../x", "a/b", "a b", "é", "x" * 65):
                await fails(Invalid, store.stage(name))
            for name in ("-", "_", "0", "x" * 64):
                await (await store.stage(name)).discard()
            assert list(await store.stages()) == []

        self.run(tmp_path, work)

    def test_discard(self, tmp_path: Path) -> None:
        """Discarding deletes the bytes and the id, and is idempotent."""

        async def work(store: Any) -> None:
            stage = await store.stage("gone")
            stage.write(0, b"x")
            await stage.discard()
            await stage.discard()
            assert list(await store.stages()) == []
            again = await store.stage("gone")
            assert again.read(0, 10) == b""
            await again.discard()

        self.run(tmp_path, work)

    def test_seal_checks_the_length(self, tmp_path: Path) -> None:
        """A stage of the wrong length is not sealed and remains a stage."""

        async def work(store: Any) -> None:
            stage = await store.stage()
            stage.write(0, b"abc")
            await fails(DigestMismatch, asyncio.to_thread(stage.seal, digest_of(b"abcd"), 4))
            assert list(await store.list()) == []
            await stage.discard()

        self.run(tmp_path, work)

    def test_seal_of_what_is_there_already(self, tmp_path: Path) -> None:
        """Sealing the bytes of an existing blob keeps one copy."""

        async def work(store: Any) -> None:
            digest = await put(store, SOME)
            stage = await store.stage()
            stage.write(0, SOME)
            stage.seal(digest, len(SOME))
            assert list(await store.list()) == [digest]
            assert list(await store.stages()) == []

        self.run(tmp_path, work)

    def test_a_stage_that_others_may_write_to_can_be_left_to_them(self, tmp_path: Path) -> None:
        """A successor is created only for occupied ranges; later writes to the old are ignored."""

        async def work(stages: Any) -> None:
            old = await stages.stage("one")
            old.write(0, b"abcd")
            old.occupy(ByteRange(2, 4))
            assert await stages.successor("one", ByteRange(0, 2)) is None
            assert await stages.successor("other", ByteRange(0, 2)) is None
            new = await stages.successor("one", ByteRange(3, 1 << 62))
            assert new is not None
            new.write(0, b"ab")
            new.sync()
            new.supersede("one")
            assert (old.is_current(), new.is_current(), new.id) == (False, True, "one")
            old.write(2, b"late")
            old.close()
            new.close()
            opened = await stages.stage("one", existing=True)
            assert opened.read(0, 9) == b"ab"
            assert await stages.successor("one", ByteRange(0, 1 << 62)) is None
            await opened.discard()
            assert list(await stages.stages()) == []

        self.run(tmp_path, work)

    def test_existing_stages_are_not_made(self, tmp_path: Path) -> None:
        """Opening an absent stage with ``existing=True`` raises `NotFound`."""

        async def work(store: Any) -> None:
            await fails(NotFound, store.stage("gone", existing=True))
            assert list(await store.stages()) == []
            (await store.stage("there")).close()
            await (await store.stage("there", existing=True)).discard()

        self.run(tmp_path, work)

    def test_seal_drops_what_lies_beyond(self, tmp_path: Path) -> None:
        """A sealed blob has only its declared length, even if more bytes were staged."""

        async def work(store: Any) -> None:
            stage = await store.stage("long")
            stage.write(0, b"wanted and more")
            stage.seal(digest_of(b"wanted"), 6)
            assert await store.stat([digest_of(b"wanted")]) == {digest_of(b"wanted"): 6}
            await stage.discard()

        self.run(tmp_path, work)

    def test_sweep_drops_the_dead_only(self, tmp_path: Path) -> None:
        """Only the named stages that are not open are removed."""

        async def work(store: Any) -> None:
            held = await store.stage("held")
            for name in ("dead", "kept"):
                (await store.stage(name)).close()
            assert await store.sweep(["held", "dead", "unknown"]) == 1
            assert list(await store.stages()) == ["held", "kept"]
            await held.discard()

        self.run(tmp_path, work)


async def chunks(data: bytes, size: int = 700_000) -> AsyncIterator[bytes]:
    """Iterate over *data* in chunks."""
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def put(store: BlobStore, data: bytes) -> Digest:
    """Store *data* and return its digest."""
    await store.put(digest_of(data), len(data), chunks(data))
    return digest_of(data)


async def fails(kind: type[DSXError], work: Coroutine[Any, Any, object]) -> None:
    """Assert that *work* raises *kind*."""
    try:
        await work
    except kind:
        return
    raise AssertionError(f"{kind.__name__} was not raised")
