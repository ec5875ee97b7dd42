"""Uploads of files, and lookup of those already stored."""

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
    """Operations of the client that store files."""

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

        A path to a file of 32 MiB or more is sent in concurrent parts, each repeated if its
        connection breaks. After an interruption, even a reboot, the same call sends only the
        missing bytes. While its task is paused, the call waits.

        Args:
            source: what to store; a file object is read from its current position.
            name: of the stored file; by default the path's last part.
            category: a category such as ``train``.
            tags: further labels.
            metadata: JSON values by key.
            content_type: media type; by default guessed by the server.
            if_absent: raise `PreconditionFailed` if the name is taken, instead of creating a new
                version.
            if_changed: if the file of that name already has these bytes and the other values given
                here, send nothing and return its record. For many files, pass the result of
                `find_many` for their names, to save one lookup for each.
            resume: resume what an earlier process sent, and let a later one resume.
            instant: hash a file given by path first, and do not send it if the server already has
                its bytes.
            progress: see `DatasetHubClient`.
            on_state: called with ("hashing", "running" or "paused", name, id of the upload's task)
                on changes of an upload in parts.

        Raises `DigestMismatch` if the server's SHA-256 differs from that of the bytes sent,
        `Conflict` if the file changes meanwhile, and `Gone` if the upload is aborted.
        """
        named = name or (Path(source).name if isinstance(source, (str, Path)) else None)
        if named is None:
            raise Invalid("Bytes and file objects require a name.")
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
        """Return the record stored under the name in *facts* if *file* is unchanged; else None."""
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
        """Return the records of your files with these names, by name.

        Files that the hub knows to be damaged are left out, so that they are stored again.
        """
        found: dict[str, FileInfo] = {}
        for batch in _batches([name for name in names if is_file_name(name)]):
            wanted = {"names": batch}
            items = self._connection.items("POST", LOOKUP, json=wanted, under_way=True)
            infos = [FileInfo.read(item) for item in items]
            found.update({info.name: info for info in infos})
        return found

    def find_if_possible(self, names: Sequence[str]) -> dict[str, FileInfo]:
        """Call `find_many`; return nothing if the key does not allow it or the hub is too old."""
        try:
            return self.find_many(names)
        except (Denied, NotFound, Invalid) as error:
            if error.response is None or error.response.status_code not in _NO_LOOKUP:
                raise
            return {}

    def _post(
        self, source: IO[bytes], facts: FileFields, progress: Progress | None, *, if_changed: bool
    ) -> FileInfo:
        """Store the content of *source* in one request."""
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
                f"{name!r} was corrupted in transit; upload it again.",
                {"expected": body.digest, "received": info.sha256},
            )
        return info

    def _send(self, body: Body, params: Mapping[str, Any], headers: Mapping[str, str]) -> FileInfo:
        """POST *body*; repeat if it can be rewound and the server has certainly not stored it.

        If the connection breaks after the first byte, the server may have stored the file, and a
        repetition would create another version. It is repeated only with *if_changed*; otherwise
        that is left to the caller.
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
    """Split *names* into lists that fit in one request, by number and total length."""
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
