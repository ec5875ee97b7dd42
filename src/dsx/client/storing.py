"""Files on their way to a hub: upload, and what is there already."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from dsx.client import uploading
from dsx.client.digests import Digests
from dsx.client.errors import (
    Conflict,
    Denied,
    DigestMismatch,
    Invalid,
    NotFound,
    RateLimited,
    Unreachable,
)
from dsx.client.http import Connection
from dsx.client.local_file import LocalFile
from dsx.client.models import FileInfo
from dsx.client.names import is_file_name, upload_name
from dsx.client.paths import local
from dsx.client.progress import Progress, StateTold
from dsx.client.upload_body import Body
from dsx.client.uploading import FileFields, UploadOptions, send_file
from dsx.core import errors as core
from dsx.core.digest import Digest

FILES = "/api/v1/files"
LOOKUP = f"{FILES}/lookup"
_REFUSED = {429, 503}
_NAMES = 500
_NAMES_SIZE = 64 * 1024  # characters: as JSON at most six times as many bytes
_NO_LOOKUP = {403, 404, 405, 501}
Source = str | Path | bytes | IO[bytes]


class StoreOperations:
    """The part of the client that stores files."""

    def __init__(self, connection: Connection, progress: Progress | None) -> None:
        self._connection = connection
        self._progress = progress
        self._digests = Digests()

    def upload(
        self,
        source: Source,
        name: str | None = None,
        *,
        category: str | None = None,
        tags: Sequence[str] = (),
        metadata: Mapping[str, Any] | None = None,
        content_type: str | None = None,
        if_absent: bool = False,
        if_changed: bool | Mapping[str, FileInfo] = False,
        resume: bool = True,
        instant: bool = False,
        progress: Progress | None = None,
        on_state: StateTold | None = None,
    ) -> FileInfo:
        """Store a file (path, bytes or binary file object) and return its record.

        A file of 32 MiB or more that is given by its path is sent in parts, several at once, each
        again if its connection breaks. If that is interrupted, even by a reboot, the same call
        sends only what is missing. It can be paused by its task; then this waits.

        Args:
            source: what to store; a file object is read from where it stands.
            name: of the stored file; by default the path's last part.
            category: a word to find it by, as ``train``.
            tags: further words.
            metadata: JSON values by key.
            content_type: media type; by default the server guesses it.
            if_absent: fail with `PreconditionFailed` if the name is taken, which otherwise means
                a new version.
            if_changed: if the file of that name has these bytes already, and all else that is given
                here, make no version and send nothing: its record is returned. For many files,
                give what `find_many` found of their names; then each is not looked up again.
            resume: go on with what an earlier process sent, and let a later one do so.
            instant: hash a file that is given by its path first, and do not send it if the server
                has its bytes already.
            progress: see `DatasetHubClient`.
            on_state: called with ("hashing", "running" or "paused", name, id of the upload's task)
                when that changes in an upload in parts.

        Raises `DigestMismatch` if the SHA-256 that the server computed is not that of the bytes
        sent, `Conflict` if the file changes meanwhile, `Gone` if somebody aborts the upload.
        """
        named = name or (Path(source).name if isinstance(source, (str, Path)) else None)
        if named is None:
            raise Invalid("Bytes and file objects need a name.")
        facts = FileFields(
            upload_name(named), category, tags, metadata or {}, content_type, if_absent
        )
        progress = progress or self._progress
        if isinstance(source, bytes):
            return self._post(io.BytesIO(source), facts, progress, if_changed=bool(if_changed))
        if not isinstance(source, (str, Path)):
            return self._post(source, facts, progress, if_changed=bool(if_changed))
        path = local(source)
        if not path.is_file():
            with path.open("rb") as opened:
                return self._post(opened, facts, progress, if_changed=bool(if_changed))
        manner = UploadOptions(resume, instant, progress, on_state)
        with LocalFile(path) as file:
            before = self._same(file, facts, if_changed)
            return before or self._stored(file, facts, manner, if_changed=bool(if_changed))

    def _same(
        self, file: LocalFile, facts: FileFields, if_changed: bool | Mapping[str, FileInfo]
    ) -> FileInfo | None:
        """The record of what is stored as *facts* if it is *file* as it is; else None."""
        if not if_changed or facts.if_absent:
            return None
        known = self.find_if_possible([facts.name]) if if_changed is True else if_changed
        info = known.get(facts.name)
        if info is None or info.size != file.size or not facts.given.agrees(info):
            return None
        return info if self._digests.of(file) == info.sha256 else None

    def _stored(
        self, file: LocalFile, facts: FileFields, manner: UploadOptions, *, if_changed: bool
    ) -> FileInfo:
        if manner.instant or file.size >= uploading.PARTS_FROM:
            info = send_file(self._connection, file, facts, manner)
        else:
            with file.path.open("rb") as opened:
                info = self._post(opened, facts, manner.progress, if_changed=if_changed)
        with contextlib.suppress(Conflict):  # it may have changed since
            file.check()
            if info.size == file.size:
                self._digests.note(file, Digest(info.sha256))
        return info

    def find_many(self, names: Sequence[str]) -> dict[str, FileInfo]:
        """The records of those of your files that have one of these names, by their names.

        A file whose bytes the hub knows to be damaged is not among them: store it again.
        """
        found: dict[str, FileInfo] = {}
        for batch in _batches([name for name in names if is_file_name(name)]):
            wanted = {"names": batch}
            items = self._connection.items("POST", LOOKUP, json=wanted, under_way=True)
            infos = [FileInfo.read(item) for item in items]
            found.update({info.name: info for info in infos})
        return found

    def find_if_possible(self, names: Sequence[str]) -> dict[str, FileInfo]:
        """What `find_many` finds; nothing if the key must not look, or the hub is an older one."""
        try:
            return self.find_many(names)
        except (Denied, NotFound, Invalid) as error:
            if error.response is None or error.response.status_code not in _NO_LOOKUP:
                raise
            return {}

    def _post(
        self, source: IO[bytes], facts: FileFields, progress: Progress | None, *, if_changed: bool
    ) -> FileInfo:
        """Store what *source* has in one request."""
        name = facts.name
        params = {"name": name, "category": facts.category, "tag": list(facts.tags)}
        if if_changed and not facts.if_absent:
            params["if_changed"] = "true"
        if facts.metadata:
            params["metadata"] = json.dumps(facts.metadata)
        headers = {"Content-Type": facts.content_type} if facts.content_type else {}
        if facts.if_absent:
            headers["If-None-Match"] = "*"
        body = Body(source, progress, name)
        info = self._send(body, params, headers)
        if info.sha256 != body.digest:
            raise DigestMismatch(
                f"{name!r} was changed on the way to the server; upload it again.",
                {"expected": body.digest, "received": info.sha256},
            )
        return info

    def _send(self, body: Body, params: Mapping[str, Any], headers: Mapping[str, str]) -> FileInfo:
        """POST *body*; again, if it can be rewound and the server said that it kept nothing.

        When the connection breaks after the first byte the server may have stored the file, and a
        second time would be another version, except if that is made *if_changed*: then it is tried
        again, else that is left to the caller.
        """
        attempt = 0
        repeatable = "if_changed" in params
        while True:
            try:
                return self._info(
                    "POST", FILES, params=params, headers=headers, data=body, retries=0
                )
            except (core.Unavailable, RateLimited) as error:
                answer = getattr(error, "response", None)
                refused = answer is not None and answer.status_code in _REFUSED
                refused = refused or (isinstance(error, Unreachable) and body.untouched)
                again = attempt < self._connection.retries
                if repeatable and self._connection.retries and self._connection.away(error):
                    refused = again = True
                if not refused or not again or not body.rewind():
                    raise
                self._connection.pause(attempt, error, under_way=repeatable)
                attempt += 1

    def _info(self, method: str, path: str, **more: Any) -> FileInfo:
        return FileInfo.read(self._connection.json(method, path, **more))


def _batches(names: Sequence[str]) -> Iterator[list[str]]:
    """*names* in lists that a request may have, by their number and by their length."""
    batch: list[str] = []
    size = 0
    for name in names:
        if batch and (len(batch) == _NAMES or size + len(name) > _NAMES_SIZE):
            yield batch
            batch, size = [], 0
        batch.append(name)
        size += len(name)
    if batch:
        yield batch
