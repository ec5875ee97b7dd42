"""The guarantees of stores whose blobs can be collected in stages."""

from __future__ import annotations

import asyncio
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from dsx.core.digest import digest_of
from dsx.core.errors import DigestMismatch, Invalid, NotFound
from dsx.core.ranges import ByteRange
from dsx.testing.blobs.suite import SOME, Suite, fails, put


class StageSuite(Suite):
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
