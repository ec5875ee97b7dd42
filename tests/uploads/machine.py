"""A state machine that drives the upload engine and a plain model of it side by side."""

from __future__ import annotations

import asyncio
import hashlib
import random
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from dsx.blobs.contract import BlobStore
from dsx.blobs.local import LocalStore
from dsx.blobs.memory import MemoryStore
from dsx.catalog import usage
from dsx.catalog.database import Catalog
from dsx.core.errors import (
    Conflict,
    DigestMismatch,
    DSXError,
    Gone,
    Incomplete,
    Invalid,
    OffsetMismatch,
    PartCorrupt,
    Paused,
    TooLarge,
)
from dsx.core.principals import Principal
from dsx.core.transfers import NewUpload, PartDigest
from dsx.hub.clock import now
from dsx.hub.files.files import Files
from dsx.hub.files.trash import Trash
from dsx.hub.limits import Limits
from dsx.hub.transfers.append_request import AppendRequest
from dsx.hub.transfers.control import Controls
from dsx.hub.transfers.tasks import Tasks
from dsx.hub.transfers.uploads import Uploads

T = TypeVar("T")
ALICE = Principal("alice")
LONGEST = 200_000
PIECE = 30_000


class Broken(Exception):
    """The connection of a test broke."""


@dataclass
class Model:
    """What an upload is: which bytes of its content have arrived."""

    id: str
    content: bytes
    length: int | None
    expected: bool
    arrived: bytearray = field(default_factory=lambda: bytearray(LONGEST))
    paused: bool = False

    def add(self, start: int, stop: int) -> None:
        self.arrived[start:stop] = b"\1" * (stop - start)

    @property
    def offset(self) -> int:
        gap = self.arrived.find(0)
        return LONGEST if gap < 0 else gap

    @property
    def end(self) -> int:
        return self.arrived.rfind(1) + 1

    def bytes_at(self, start: int, size: int) -> bytes:
        """The right bytes there, none beyond the end."""
        stop = start + size if self.length is None else min(start + size, self.length)
        return self.content[start:stop]

    def complete(self) -> bool:
        return self.length is not None and self.offset >= self.length == self.end


def sender(data: bytes, breaks_after: int | None = None) -> Any:
    """The source of a request: *data* in pieces, broken off if so wished."""

    async def source(write: Callable[[Any], object], gate: Callable[[], Awaitable[None]]) -> None:
        sent = data if breaks_after is None else data[:breaks_after]
        for start in range(0, len(sent), PIECE):
            await gate()
            await asyncio.to_thread(write, sent[start : start + PIECE])
        if breaks_after is not None:
            raise Broken

    return source


class UploadMachine(RuleBasedStateMachine):
    """Every step does the same to both; they must agree on the outcome and on what is there."""

    local: ClassVar[bool] = True
    new_database: ClassVar[Callable[[], str] | None] = None
    steps: ClassVar[int] = 0
    uploads = Bundle("uploads")

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="machine-"))
        self.loop = asyncio.new_event_loop()
        make = type(self).new_database
        self.catalog = Catalog(make() if make else f"sqlite:///{self.directory / 'catalog.db'}")
        self.do(self.catalog.migrate())
        self.blobs: BlobStore = LocalStore(self.directory) if self.local else MemoryStore()
        self.living: dict[str, Model] = {}
        self.ended: list[str] = []
        self.made: dict[str, tuple[str, bytes]] = {}
        self.start()

    def start(self) -> None:
        self.controls = Controls(self.catalog, grace=0.01, upload_expiry=3600)
        self.engine = Uploads(self.catalog, self.blobs, self.controls, Limits(file_size=LONGEST))
        files, trash = Files(self.catalog, self.blobs), Trash(self.catalog, self.blobs, days=1)
        self.tasks = Tasks(self.catalog, self.controls, files, trash, self.engine, ttl=3600)

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        type(self).steps += 1
        return self.loop.run_until_complete(work)

    def refused(self, kinds: Any, work: Coroutine[Any, Any, object]) -> None:
        """*work* has to fail that way."""
        try:
            self.do(work)
        except kinds:
            return
        raise AssertionError(f"{kinds} was not raised")

    @rule(
        target=uploads,
        length=st.integers(0, 100_000),
        known=st.booleans(),
        expected=st.sampled_from(["", "sha256", "md5", "wrong"]),
        seed=st.integers(0, 3),
    )
    def create(self, length: int, known: bool, expected: str, seed: int) -> Model:
        content = random.Random(seed).randbytes(length)
        digests = {}
        if expected in {"sha256", "md5"}:
            digests[expected] = hashlib.new(expected, content).hexdigest()
        elif expected:
            digests["sha1"] = "0" * 40
        new = NewUpload(name=f"n{seed}", length=length if known else None, expected=digests)
        upload = self.do(self.engine.create(ALICE, new))
        model = Model(upload.id, content, length if known else None, expected != "wrong")
        self.living[upload.id] = model
        return model

    @rule(model=uploads, size=st.integers(0, 60_000), wrong=st.integers(-2, 2))
    def append(self, model: Model, size: int, wrong: int) -> None:
        """In order, or nearly."""
        start = model.offset + wrong
        data = model.bytes_at(max(0, start), size)
        work = self.engine.append(
            ALICE, model.id, sender(data), AppendRequest(start, len(data)), finish=False
        )
        if model.id not in self.living:
            refusals = (Gone, OffsetMismatch, Invalid, TooLarge)
            self.refused(refusals, self.maybe_done(work, model, start))
        elif model.paused:
            self.refused(Paused, work)
        elif wrong:
            self.refused((OffsetMismatch, Invalid, TooLarge), work)
        else:
            self.do(work)
            model.add(start, start + len(data))

    async def maybe_done(self, work: Any, model: Model, start: int) -> None:
        """On a finished upload, an empty request at its end is no failure."""
        upload = await work
        assert upload.state == "finished"
        assert start == upload.offset
        raise Gone("as good as that")

    @rule(
        model=uploads,
        start=st.integers(0, 100_000),
        size=st.integers(1, 60_000),
        other=st.booleans(),
        breaks=st.none() | st.integers(0, 40_000),
    )
    def part(self, model: Model, start: int, size: int, other: bool, breaks: int | None) -> None:
        """Anywhere; the right bytes or others; broken off or not."""
        data = model.bytes_at(start, size)
        if not data:
            return
        changed = bytearray(data)
        if other:
            changed[-1] ^= 1
        addition = AppendRequest(start, len(data), part=True)
        source = sender(bytes(changed), breaks)
        work = self.engine.append(ALICE, model.id, source, addition, finish=False)
        arrived = model.arrived[start : start + len(data)]
        if model.id not in self.living:
            self.refused((Gone, Conflict), work)
        elif model.paused:
            self.refused(Paused, work)
        elif other and not arrived[-1]:
            work.close()  # new bytes are what they are: there is nothing to compare them with
        elif breaks is not None:
            sent = min(breaks, len(data))
            if other and sent == len(data):
                self.refused(Conflict, work)
            else:
                self.refused(Broken, work)
                model.add(start, start + sent)
        elif other:
            self.refused(Conflict, work)
        else:
            self.do(work)
            model.add(start, start + len(data))

    @rule(model=uploads, size=st.integers(1, 60_000), right=st.booleans())
    def checked(self, model: Model, size: int, right: bool) -> None:
        """With a digest of the request's bytes: all of them, or none."""
        start = model.offset
        data = model.bytes_at(start, size)
        digest = PartDigest("sha1", hashlib.sha1(data if right else data + b"x").digest())
        addition = AppendRequest(start, len(data), checked=True, digest=lambda: digest)
        work = self.engine.append(ALICE, model.id, sender(data), addition, finish=False)
        if model.id not in self.living or model.paused:
            work.close()
        elif right:
            self.do(work)
            model.add(start, start + len(data))
        else:
            self.refused(PartCorrupt, work)

    @rule(model=uploads)
    def finish(self, model: Model) -> None:
        work = self.engine.finish(ALICE, model.id)
        if model.id in self.made:
            version = self.do(work)
            assert version is not None
            assert (version.id, version.sha256) == (
                self.made[model.id][0],
                hashlib.sha256(self.made[model.id][1]).hexdigest(),
            )
            return
        if model.id not in self.living:
            self.refused(Gone, work)
            return
        if model.length is None:
            model.length = model.end
        if not model.complete():
            self.refused(Incomplete, work)
        elif model.paused:
            self.refused(Paused, work)
        elif not model.expected:
            self.refused(DigestMismatch, work)
        else:
            content = model.content[: model.length]
            try:
                version = self.do(work)
            except DigestMismatch:
                assert content != model.content  # the announced digest is that of the whole
                return
            assert version is not None
            assert version.sha256 == hashlib.sha256(content).hexdigest()
            self.made[model.id] = version.id, content
            del self.living[model.id]

    @rule(model=consumes(uploads))
    def abort(self, model: Model) -> None:
        try:
            self.do(self.engine.abort(ALICE, model.id))
        except Gone:
            assert model.id not in self.living
        self.living.pop(model.id, None)
        self.made.pop(model.id, None)
        self.ended.append(model.id)

    @rule(model=uploads)
    def pause_or_resume(self, model: Model) -> None:
        if model.id in self.living:
            change = self.tasks.resume if model.paused else self.tasks.pause
            self.do(change(ALICE, model.id))
            model.paused = not model.paused

    @rule()
    def another_process(self) -> None:
        """Nothing but the catalog and the disk is left."""
        self.do(self.controls.aclose())
        self.start()

    @rule()
    def collect(self) -> None:
        """Nothing that is needed goes."""
        self.do(self.engine.expiry.sweep())
        self.do(self.engine.expiry.drop_expired(now()))

    @invariant()
    def counted(self) -> None:
        """H6: what counts against quotas, and what room is promised, is what a recount finds."""
        assert self.do(self.catalog.read(usage.wrong)) == []
        found = self.do(self.catalog.read(lambda connection: usage.of(connection, ALICE.id)))
        assert found.uploads == len(self.living)
        assert found.staged == sum(
            model.arrived.count(1) if model.length is None else model.length
            for model in self.living.values()
        )
        assert found.reserved == sum(
            model.length - model.arrived.count(1)
            for model in self.living.values()
            if model.length is not None
        )

    @invariant()
    def agree(self) -> None:
        for id_, model in self.living.items():
            upload = self.do(self.engine.get(ALICE, id_))
            arrived = bytearray(LONGEST)
            for start, stop in upload.received.pairs():
                arrived[start:stop] = b"\1" * (stop - start)
            assert arrived == model.arrived
            assert upload.length == model.length
        for id_ in self.ended[-3:]:
            self.refused(DSXError, self.engine.get(ALICE, id_))

    def teardown(self) -> None:
        try:
            if isinstance(self.blobs, LocalStore):
                stages = set(self.do(self.blobs.stages()))
                assert stages <= set(self.living), "bytes of uploads that have ended"
                for _, content in self.made.values():
                    path = self.blobs.locate(hashlib.sha256(content).hexdigest())  # type: ignore[arg-type]
                    assert path.read_bytes() == content
        finally:
            self.do(self.controls.aclose())
            self.do(self.catalog.aclose())
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
            self.loop.close()
            shutil.rmtree(self.directory)


class MemoryMachine(UploadMachine):
    """The same on the store that is a dictionary."""

    local = False
