"""Uploads of large files: parts in parallel, each again until it is there, resumed after a crash.

The server says which bytes it has on its disk; whatever happened before, the rest is sent. While
the parts are on their way the file is hashed close behind them, out of the system's cache, and the
hash compared with that of the file the server made.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from dsx.client.errors import DigestMismatch, Incomplete
from dsx.client.http import Connection, pause
from dsx.client.local import LocalFile
from dsx.client.models import FileInfo, UploadInfo
from dsx.client.names import segments
from dsx.client.progress import Meter, Progress, StateTold, in_threads
from dsx.client.resume import Memory, key_of, remembered
from dsx.core import errors as core
from dsx.core.digest import Digest, Hasher
from dsx.core.ranges import ByteRange
from dsx.core.spans import Spans

UPLOADS = "/api/v1/uploads"
PARTS_FROM = 32 * 1024 * 1024
"""Files from this size on are sent in parts."""
PART = 16 * 1024 * 1024
MAX_PARTS = 2000
_CHUNK = 512 * 1024
_POLL = 0.5
_FINISH_RATE = 50_000_000  # bytes a second that a server hashes at the very least
_FINISHES = 3
_AGAIN = (
    core.Unavailable, core.RateLimited, core.TimedOut, core.Superseded, core.PartCorrupt,
)  # fmt: skip
_HOPELESS = (core.PreconditionFailed, core.DigestMismatch, core.Invalid, core.Unprocessable)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Facts:
    """What a file is stored with."""

    name: str
    category: str | None = None
    tags: Sequence[str] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    content_type: str | None = None
    if_absent: bool = False

    def as_json(self) -> dict[str, Any]:
        """As the route that begins an upload takes them."""
        return {
            "name": self.name,
            "category": self.category,
            "tags": list(self.tags),
            "metadata": dict(self.metadata),
            "content_type": self.content_type,
            "only_if_absent": self.if_absent,
        }


@dataclass(frozen=True, slots=True)
class Manner:
    """How an upload is carried out: see `FileOperations.upload`."""

    resume: bool = True
    instant: bool = False
    progress: Progress | None = None
    on_state: StateTold | None = None

    def tell(self, state: str, name: str, id_: str) -> None:
        """Tell whoever wants to know."""
        if self.on_state is not None:
            self.on_state(state, name, id_)


def send_file(connection: Connection, file: LocalFile, facts: Facts, manner: Manner) -> FileInfo:
    """Store *file* as *facts*, going on with what an earlier process sent of it."""
    key = key_of(connection.base_url, file, facts.as_json()) if manner.resume else None
    with remembered(key) as memory:
        return _Sending(connection, file, facts, manner, memory).run()


class _Sending:
    """One upload on its way."""

    def __init__(
        self,
        connection: Connection,
        file: LocalFile,
        facts: Facts,
        manner: Manner,
        memory: Memory,
    ) -> None:
        self._connection = connection
        self._file = file
        self._facts = facts
        self._manner = manner
        self._memory = memory
        self._meter = Meter(manner.progress, file.size, facts.name)
        self._gate = _Gate(self._look, manner, facts.name, self._meter)
        self._digest: Digest | None = None

    def run(self) -> FileInfo:
        """Begin, or go on; send; finish; compare."""
        if self._manner.instant:
            self._manner.tell("hashing", self._facts.name, "")
            self._digest = self._hashed(lambda position: self._file.size)
        upload = self._taken_up() or self._begun()
        self._gate.id = upload.id
        self._manner.tell("running", self._facts.name, upload.id)
        with self._settled(upload.id):
            info = upload.file or self._proven(upload) or self._sent(upload)
            self._digest = self._digest or self._hashed(lambda position: self._file.size)
            self._file.check()
        self._memory.forget()
        self._compare(info)
        return info

    def _taken_up(self) -> UploadInfo | None:
        """The upload that an earlier process began, if the server still has it."""
        id_ = self._memory.recall()
        if id_ is None:
            return None
        with contextlib.suppress(core.NotFound, core.Gone):
            upload = self._look(id_)
            if upload.state == "open" or upload.file is not None:
                return upload
        self._memory.forget()
        return None

    def _begun(self) -> UploadInfo:
        new = {**self._facts.as_json(), "length": self._file.size, "sha256": self._digest}
        # If the answer is lost a second one is begun; the first expires without having become
        # anything.
        upload = self._upload("POST", UPLOADS, json=new)
        about = {"server": self._connection.base_url, "path": str(self._file.path.absolute())}
        self._memory.keep(upload.id, {**about, "name": self._facts.name, "size": self._file.size})
        return upload

    @contextlib.contextmanager
    def _settled(self, id_: str) -> Iterator[None]:
        """After a failure: keep what a later process can go on with, drop everything else."""
        try:
            yield
        except (core.NotFound, core.Gone):
            self._memory.forget()
            raise
        except BaseException as error:
            # Of the conflicts, only those of a special kind say nothing against the bytes.
            wrong = isinstance(error, _HOPELESS) or getattr(error, "code", "") == "conflict"
            if wrong or not self._manner.resume:
                with contextlib.suppress(core.DSXError):
                    self._connection.request("DELETE", UPLOADS + segments(id_), retries=1)
                self._memory.forget()
            raise

    def _proven(self, upload: UploadInfo) -> FileInfo | None:
        """The file, if the server had its bytes already and we can show that we have them."""
        if upload.challenge is None:
            return None
        hasher = hashlib.sha256(bytes.fromhex(upload.challenge.nonce))
        for start, stop in upload.challenge.places:
            for data in self._file.pieces(start, stop, _CHUNK):
                hasher.update(data)
        path = UPLOADS + segments(upload.id, "proof")
        with contextlib.suppress(core.Denied):
            answer = self._connection.json("POST", path, json={"proof": hasher.hexdigest()})
            self._meter.add(self._file.size)
            return FileInfo.model_validate(answer)
        return None

    def _sent(self, upload: UploadInfo) -> FileInfo:
        """Send what is missing until the server says that nothing is."""
        self._meter.add(upload.there.size)
        for left in reversed(range(_FINISHES)):
            self._send(upload)
            self._file.check()
            try:
                return self._gate.pass_through(partial(self._finish, upload.id))
            except Incomplete:
                if not left:
                    raise
            upload = self._look(upload.id)
        raise AssertionError  # pragma: no cover (the last round returns or raises)

    def _send(self, upload: UploadInfo) -> None:
        followed = _Followed(upload.there, self._meter)
        jobs: list[Callable[[], Any]] = []
        if self._digest is None:
            jobs.append(partial(self._hashed, followed.wait))
        for part in parts(upload.there, self._file.size):
            jobs.append(partial(self._send_part, upload.id, part, followed))
        results = list(in_threads(jobs, self._connection.pool + 1, self._meter))
        if self._digest is None:
            self._digest = results[0]

    def _send_part(self, id_: str, part: ByteRange, followed: _Followed) -> None:
        """Send *part*; after a failure, what of it the server does not have."""
        missing, attempt = [part], 0
        while missing:
            body = _PartBody(self._file, missing[0], self._meter)
            path = UPLOADS + segments(id_, "parts", str(missing[0].start))
            try:
                self._gate.pass_through(
                    lambda: self._connection.request("PUT", path, data=body.again(), retries=0)
                )
            except _AGAIN as error:
                body.undo()
                if attempt >= self._connection.retries:
                    raise
                pause(attempt, error)
                attempt += 1
                there = self._look(id_).there
                left = [gap for span in missing for gap in _gaps(there, span)]
                self._meter.add(_size(missing) - _size(left))
                attempt = 0 if _size(left) < _size(missing) else attempt
                missing = left
            else:
                missing, attempt = missing[1:], 0
        followed.add(part)

    def _finish(self, id_: str) -> FileInfo:
        path = UPLOADS + segments(id_, "finish")
        patience = self._file.size / _FINISH_RATE
        return FileInfo.model_validate(self._connection.json("POST", path, patience=patience))

    def _compare(self, info: FileInfo) -> None:
        if info.sha256 == self._digest:
            return
        told = "upload it again."
        if info.version == 1 and info.latest:  # else its good versions would go, too
            self._connection.request("DELETE", f"/api/v1/files/{info.id}")
            told = "what arrived is in the trash; upload it again."
        raise DigestMismatch(
            f"{info.name!r} was changed on the way to the server; {told}",
            {"expected": self._digest, "received": info.sha256, "id": info.id},
        )

    def _hashed(self, readable: Callable[[int], int]) -> Digest:
        """The hash of the whole; *readable* waits until bytes may be read, and tells up to where"""
        hasher = Hasher()
        while hasher.size < self._file.size:
            stop = min(hasher.size + PART, readable(hasher.size))
            for data in self._file.pieces(hasher.size, stop, _CHUNK):
                self._meter.check()
                hasher.update(data)
        return hasher.digest

    def _look(self, id_: str) -> UploadInfo:
        return self._upload("GET", UPLOADS + segments(id_))

    def _upload(self, method: str, path: str, **more: Any) -> UploadInfo:
        return UploadInfo.model_validate(self._connection.json(method, path, **more))


class _PartBody:
    """The body of one part, straight from the file.

    It is an iterable, not a file: the HTTP library would read a file in pieces of 16 KiB.
    """

    def __init__(self, file: LocalFile, span: ByteRange, meter: Meter) -> None:
        self.len = span.size  # how requests learns the length
        self._file = file
        self._span = span
        self._meter = meter
        self._told = 0

    def __iter__(self) -> Iterator[bytes]:
        for data in self._file.pieces(self._span.start, self._span.stop, _CHUNK):
            self._meter.add(len(data))
            self._told += len(data)
            yield data

    def again(self) -> _PartBody:
        """Itself, with nothing sent."""
        self.undo()
        return self

    def undo(self) -> None:
        """What was sent did not arrive, as far as we know."""
        told, self._told = self._told, 0
        self._meter.add(-told)


class _Followed:
    """Which bytes have been sent, for a reader that stays behind those who send them."""

    def __init__(self, there: Spans, meter: Meter) -> None:
        self._there = there
        self._meter = meter
        self._changed = threading.Condition()

    def add(self, span: ByteRange) -> None:
        """The bytes of *span* have been sent."""
        with self._changed:
            self._there = self._there.add(span)
            self._changed.notify_all()

    def wait(self, position: int) -> int:
        """Return once the byte at *position* has been sent: how far there is no gap."""
        with self._changed:
            while self._there.prefix <= position:
                self._meter.check()
                self._changed.wait(_POLL)
            return self._there.prefix


class _Gate:
    """Holds back the parts of an upload while its task is paused."""

    def __init__(
        self, look: Callable[[str], UploadInfo], manner: Manner, name: str, meter: Meter
    ) -> None:
        self.id = ""
        self._look = look
        self._manner = manner
        self._name = name
        self._meter = meter
        self._lock = threading.Lock()

    def pass_through(self, action: Callable[[], T]) -> T:
        """What *action* returns; done again after each pause that it runs into."""
        while True:
            try:
                return action()
            except core.Paused:
                self._wait()

    def _wait(self) -> None:
        """Return once the task is resumed: one thread asks, the others wait for that one."""
        with self._lock:
            told = False
            while self._look(self.id).paused:
                if not told:
                    self._manner.tell("paused", self._name, self.id)
                told = True
                self._meter.check()
                threading.Event().wait(_POLL)
            if told:
                self._manner.tell("running", self._name, self.id)


def parts(there: Spans, size: int) -> list[ByteRange]:
    """What of *size* bytes is missing *there*, cut at multiples of one part's size."""
    step = max(PART, -(-size // (MAX_PARTS * PART)) * PART)
    return [gap for start in range(0, size, step)
            for gap in _gaps(there, ByteRange(start, min(size, start + step)))]  # fmt: skip


def _gaps(there: Spans, wanted: ByteRange) -> list[ByteRange]:
    return [piece for piece, has in there.split(wanted) if not has]


def _size(spans: Sequence[ByteRange]) -> int:
    return sum(span.size for span in spans)
