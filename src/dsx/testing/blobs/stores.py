"""The guarantees of every blob store."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

from dsx.blobs.contract import BlobStore, Stages
from dsx.core.digest import Digest, digest_of
from dsx.core.errors import DigestMismatch, NotFound, RangeUnsatisfiable
from dsx.core.ranges import ByteRange
from dsx.testing.blobs.suite import SOME, WRONG, Suite, chunks, fails, put


class BlobStoreSuite(Suite):
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
