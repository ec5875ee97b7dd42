"""Uploads of large files in parallel parts, repeated until stored and resumed after a crash.

The server reports which bytes are on its disk; only the rest is sent. While the parts are being
sent, the file is hashed close behind them, from the page cache, and the hash is compared with the
server's.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from dsx.client.errors import DigestMismatch, Incomplete
from dsx.client.http import Connection, tries
from dsx.client.local_file import LocalFile
from dsx.client.models import FileInfo, UploadInfo
from dsx.client.names import segments
from dsx.client.parts import CHUNK, PART, Followed, Gate, PartBody, gaps, parts
from dsx.client.progress import Meter, Progress, StateTold, in_threads
from dsx.client.upload_journal import UploadJournal, key_of, remembered
from dsx.core import errors as core
from dsx.core.digest import Digest, Hasher
from dsx.core.model import Given
from dsx.core.ranges import ByteRange

UPLOADS = "/api/v1/uploads"
PARTS_FROM = 32 * 1024 * 1024
"""Files from this size on are sent in parts."""
_FINISH_RATE = 50_000_000  # bytes per second that a server hashes at least
_FINISHES = 3
_AGAIN = (
    core.Unavailable, core.RateLimited, core.TimedOut, core.Superseded, core.PartCorrupt,
)  # fmt: skip
_HOPELESS = (core.PreconditionFailed, core.DigestMismatch, core.Invalid, core.Unprocessable)


@dataclass(frozen=True, slots=True)
class FileFields:
    """Name, labels and conditions of a file to store."""

    name: str
    category: str | None = None
    tags: Sequence[str] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    content_type: str | None = None
    if_absent: bool = False

    @property
    def given(self) -> Given:
        """The values that an existing file must have to count as unchanged."""
        return Given(self.category, self.content_type, dict(self.metadata), tuple(self.tags))

    def as_json(self) -> dict[str, Any]:
        """Return the fields as the body of the request that creates an upload."""
        return {
            "name": self.name,
            "category": self.category,
            "tags": list(self.tags),
            "metadata": dict(self.metadata),
            "content_type": self.content_type,
            "only_if_absent": self.if_absent,
        }


@dataclass(frozen=True, slots=True)
class UploadOptions:
    """Options of an upload; see `FileOperations.upload`."""

    resume: bool = True
    instant: bool = False
    progress: Progress | None = None
    on_state: StateTold | None = None


def send_file(
    connection: Connection, file: LocalFile, facts: FileFields, manner: UploadOptions
) -> FileInfo:
    """Store *file* with *facts*, resuming what an earlier process sent of it."""
    key = key_of(connection.base_url, file, facts.as_json()) if manner.resume else None
    with remembered(key) as memory:
        return _Sending(connection, file, facts, manner, memory).run()


class _Sending:
    """One upload in progress."""

    def __init__(
        self,
        connection: Connection,
        file: LocalFile,
        facts: FileFields,
        manner: UploadOptions,
        memory: UploadJournal,
    ) -> None:
        self._connection = connection
        self._file = file
        self._facts = facts
        self._manner = manner
        self._memory = memory
        self._meter = Meter(manner.progress, file.size, facts.name)
        self._gate = Gate(self._look, self._tell, self._meter)
        self._digest: Digest | None = None

    def run(self) -> FileInfo:
        """Create or resume the upload, send, finish and verify it."""
        if self._manner.instant:
            self._tell("hashing", "")
            self._digest = self._hashed(self._at_once)
        upload = self._taken_up() or self._begun()
        self._tell("running", upload.id)
        with self._settled(upload.id):
            info = self._already(upload) or self._proven(upload) or self._sent(upload)
            self._digest = self._digest or self._hashed(self._at_once)
            self._file.check()
        self._memory.forget()
        self._compare(info)
        return info

    def _taken_up(self) -> UploadInfo | None:
        """Return the upload that an earlier process created, if the server still has it.

        One whose file has been deleted since is ignored: the file is to be stored again.
        """
        id_ = self._memory.recall()
        if id_ is None:
            return None
        with contextlib.suppress(core.NotFound, core.Gone):
            upload = self._look(id_)
            if upload.state == "open" or (upload.file is not None and not upload.file.trashed):
                return upload
        self._memory.forget()
        return None

    def _begun(self) -> UploadInfo:
        new = {**self._facts.as_json(), "length": self._file.size, "sha256": self._digest}
        # If the response is lost, a second upload is created, and the first one expires.
        upload = self._upload("POST", UPLOADS, json=new)
        about = {"server": self._connection.base_url, "path": str(self._file.path.absolute())}
        self._memory.keep(upload.id, {**about, "name": self._facts.name, "size": self._file.size})
        return upload

    @contextlib.contextmanager
    def _settled(self, id_: str) -> Iterator[None]:
        """After a failure, keep an upload that a later process can resume; drop any other."""
        try:
            yield
        except (core.NotFound, core.Gone):
            self._memory.forget()
            raise
        except BaseException as error:
            # A plain conflict means that the bytes are wrong; its subclasses do not.
            wrong = isinstance(error, _HOPELESS) or getattr(error, "code", "") == "conflict"
            if wrong or not self._manner.resume:
                with contextlib.suppress(core.DSXError):
                    self._connection.request("DELETE", UPLOADS + segments(id_), retries=1)
                self._memory.forget()
            raise

    def _already(self, upload: UploadInfo) -> FileInfo | None:
        """Return the file if an earlier process finished without recording it."""
        if upload.file is not None:
            self._meter.add(self._file.size)
        return upload.file

    def _proven(self, upload: UploadInfo) -> FileInfo | None:
        """Return the file if the server already has its bytes and accepts a proof of possession."""
        if upload.challenge is None:
            return None
        hasher = hashlib.sha256(bytes.fromhex(upload.challenge.nonce))
        for start, stop in upload.challenge.places:
            for data in self._file.pieces(start, stop, CHUNK):
                hasher.update(data)
        path = UPLOADS + segments(upload.id, "proof")
        with contextlib.suppress(core.Denied):
            answer = self._connection.json("POST", path, json={"proof": hasher.hexdigest()})
            self._meter.add(self._file.size)
            return FileInfo.read(answer)
        return None

    def _sent(self, upload: UploadInfo) -> FileInfo:
        """Send missing bytes until the server reports the upload complete."""
        self._meter.add(upload.there.size)
        left = _FINISHES
        while True:
            self._send(upload)
            self._file.check()
            try:
                return self._finish(upload.id)
            except core.Paused:
                self._gate.wait(upload.id)
            except Incomplete:
                left -= 1
                if not left:
                    raise
            upload = self._look(upload.id)

    def _send(self, upload: UploadInfo) -> None:
        followed = Followed(upload.there, self._meter)
        jobs: list[Callable[[], Any]] = []
        if self._digest is None:
            jobs.append(partial(self._hashed, followed.wait))
        jobs += [
            partial(self._send_part, upload.id, part, followed)
            for part in parts(upload.there, self._file.size)
        ]
        results = list(in_threads(jobs, self._connection.pool + 1, self._meter))
        if self._digest is None:
            self._digest = results[0]

    def _send_part(self, id_: str, part: ByteRange, followed: Followed) -> None:
        """Send *part*; after a failure, only the bytes that the server does not have."""
        missing, attempt = [part], 0
        while missing:
            body = PartBody(self._file, missing[0], self._meter)
            path = UPLOADS + segments(id_, "parts", str(missing[0].start))
            try:
                self._connection.request("PUT", path, data=body, retries=0)
            except core.Paused:
                self._gate.wait(id_)
            except _AGAIN as error:
                retries = self._connection.retries
                outlasts = bool(retries) and self._connection.away(error)
                if attempt >= tries(error, retries) and not outlasts:
                    raise
                self._connection.pause(attempt, error, under_way=True)
                attempt += 1
                if isinstance(error, core.Elsewhere):
                    # No bytes were stored. A status request now would alternate with the part: a
                    # round-robin balancer would never route the part to another server.
                    body.undo()
                    continue
            else:
                missing, attempt = missing[1:], 0
                continue
            body.undo()
            there, before = self._look(id_).there, _size(missing)
            missing = [gap for span in missing for gap in gaps(there, span)]
            if _size(missing) < before:  # progress is not a failure
                self._meter.add(before - _size(missing))
                attempt = 0
        followed.add(part)

    def _finish(self, id_: str) -> FileInfo:
        path = UPLOADS + segments(id_, "finish")
        patience = self._file.size / _FINISH_RATE
        how = {"sha256": self._digest}
        try:
            answer = self._connection.json(
                "POST", path, json=how, patience=patience, under_way=True
            )
        except core.DigestMismatch as error:
            raise self._changed(error.details.get("received")) from None
        return FileInfo.read(answer)

    def _compare(self, info: FileInfo) -> None:
        if info.sha256 != self._digest:
            raise self._changed(info.sha256)

    def _changed(self, received: object) -> DigestMismatch:
        return DigestMismatch(
            f"{self._facts.name!r} was corrupted in transit; upload it again.",
            {"expected": self._digest, "received": received},
        )

    def _hashed(self, readable: Callable[[int], int]) -> Digest:
        """Hash the whole file; *readable* waits for bytes and returns where they end."""
        hasher = Hasher()
        while hasher.size < self._file.size:
            stop = min(hasher.size + PART, readable(hasher.size))
            for data in self._file.pieces(hasher.size, stop, CHUNK):
                self._meter.check()
                hasher.update(data)
        return hasher.digest

    def _tell(self, state: str, id_: str) -> None:
        if self._manner.on_state is not None:
            self._manner.on_state(state, self._facts.name, id_)

    def _at_once(self, _position: int) -> int:
        return self._file.size

    def _look(self, id_: str) -> UploadInfo:
        return self._upload("GET", UPLOADS + segments(id_), under_way=True)

    def _upload(self, method: str, path: str, **more: Any) -> UploadInfo:
        return UploadInfo.read(self._connection.json(method, path, **more))


def _size(spans: Sequence[ByteRange]) -> int:
    return sum(span.size for span in spans)
