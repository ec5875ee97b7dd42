"""Downloads: resumed when the connection breaks, in parallel ranges when large, and verified."""

from __future__ import annotations

import contextlib
import io
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import requests
import urllib3

from dsx.client.errors import Broken, Conflict, DigestMismatch, Paused
from dsx.client.http import Connection
from dsx.client.partial_download import PartialDownload
from dsx.client.progress import Meter, Progress, in_threads
from dsx.client.system import read_at, write_at
from dsx.core.digest import Buffer, Digest, Hasher, from_repr_digest

CHUNK = 1024 * 1024
_FIRST_CHUNK = 64 * 1024
_SLOW = 0.5  # seconds per chunk: unwritten bytes are lost if the process is killed
PARALLEL_FROM = 64 * 1024 * 1024
RANGE = 16 * 1024 * 1024
_BREAKS = (requests.RequestException, urllib3.exceptions.HTTPError, ConnectionError)
Headers = Mapping[str, str]
Ask = Callable[[Headers], requests.Response]
Write = Callable[[int, Buffer], None]
Read = Callable[[int, int], bytes]


@dataclass(frozen=True, slots=True)
class Fetched:
    """What was downloaded: size in bytes, validator (without quotes), SHA-256."""

    size: int
    etag: str
    digest: Digest


@dataclass(frozen=True, slots=True)
class Remote:
    """A body that can be requested repeatedly.

    Attributes:
        connection: connection to its server.
        path: of the request, quoted.
        name: name in messages.
        sha256: expected digest, unless the response declares one or has another *etag*.
        size: total bytes, if known in advance.
        etag: validator with its quotes, if known in advance and not the *sha256*.
        method: ``GET``, or ``POST`` with *json*.
        recheck: make the server read the content again before it declares a digest.
        begun: a response already received, which is used first.
        wait: called when the transfer is paused; returns once it can be resumed.
    """

    connection: Connection
    path: str
    name: str
    sha256: str | None = None
    size: int | None = None
    etag: str | None = None
    method: str = "GET"
    json: Any = None
    recheck: bool = False
    begun: requests.Response | None = None
    wait: Callable[[], None] | None = None

    def ask(self, headers: Headers) -> requests.Response:
        """Send the request and return its response, waiting while the transfer is paused."""
        if self.recheck:
            headers = {**headers, "Cache-Control": "no-cache"}
        rest = "Range" in headers
        while True:
            try:
                return self.connection.request(
                    self.method,
                    self.path,
                    headers=headers,
                    json=self.json,
                    stream=True,
                    under_way=rest,
                )
            except Paused:
                if self.wait is None:
                    raise
                self.wait()


class _Changed(Conflict):
    """The body is no longer the one whose beginning has been received."""


class Anew(Exception):
    """The server's body differs from the kept one; *response* has all of the new one."""

    def __init__(self, response: requests.Response) -> None:
        super().__init__(response.url)
        self.response = response


def fetch_bytes(remote: Remote, progress: Progress | None = None) -> bytes:
    """Return the body, verified."""
    data = io.BytesIO()

    def write(offset: int, chunk: Buffer) -> None:
        data.seek(offset)
        data.write(chunk)

    _Download(remote, write, data.truncate, progress).run()
    return data.getvalue()


def fetch_stream(
    remote: Remote, output: Callable[[Buffer], Any], progress: Progress | None
) -> None:
    """Pass the body to *output* as it arrives, and verify it at the end.

    Output cannot be undone: raises `Conflict` if the body changes meanwhile, and `DigestMismatch`
    after the last byte if the bytes were wrong.
    """
    begun = False

    def begin(_size: int) -> None:
        nonlocal begun
        if begun:
            raise Conflict(f"{remote.name} could not be resumed after a break; start again.")
        begun = True

    _Download(remote, lambda _offset, chunk: output(chunk), begin, progress).run(attempts=1)


def fetch_file(
    remote: Remote,
    descriptor: int,
    progress: Progress | None = None,
    *,
    ranges: bool = True,
    kept: PartialDownload | None = None,
) -> Fetched:
    """Write the body to a file; a large one is fetched in parallel *ranges*.

    With *kept*, the download resumes after the bytes in the file, if they are the beginning of the
    body. If they are kept by a validator and the body has another one, raises `Anew`.

    Raises `DigestMismatch` if the bytes are wrong twice, `Broken` if the connection keeps breaking
    without progress, and `Conflict` if the body changes repeatedly.
    """

    def write(offset: int, chunk: Buffer) -> None:
        view = memoryview(chunk)
        while view:
            written = write_at(descriptor, view, offset)
            view, offset = view[written:], offset + written

    truncate, read = partial(os.ftruncate, descriptor), partial(read_at, descriptor)
    download = _Download(remote, write, truncate, progress, kept)
    ranged = read if ranges else None
    return download.go_on(read, ranged) if kept is not None and kept.size else download.run(ranged)


class _Download:
    """The download of one body.

    *write* writes bytes at an offset; *truncate* drops the bytes from an offset on.
    """

    def __init__(
        self,
        remote: Remote,
        write: Write,
        truncate: Callable[[int], Any],
        progress: Progress | None,
        kept: PartialDownload | None = None,
    ) -> None:
        self._kept = kept
        self._remote = remote
        self._retries = remote.connection.retries
        self._write = write
        self._truncate = truncate
        self._progress = progress

    def run(self, read: Read | None = None, attempts: int = 2) -> Fetched:
        """Download the body and verify it; *read* (size, offset) allows parallel ranges."""
        response = self._remote.begun or self._remote.ask({})
        while True:
            attempts -= 1
            try:
                return self._take(response, Hasher(), read)
            except (_Changed, DigestMismatch):
                if attempts <= 0:
                    raise
            response = self._remote.ask({})

    def go_on(self, read: Read, ranged: Read | None) -> Fetched:
        """Download the rest after the kept bytes or, if these turn out to be wrong, the whole."""
        hasher = self._hash_kept(read)
        kept = self._kept.etag if self._kept else None
        etag = kept or self._remote.etag or f'"{self._remote.sha256}"'
        try:
            if hasher.size == self._remote.size:
                self._truncate(hasher.size)
                return self._verified({"ETag": etag}, hasher)
            headers = {"Range": f"bytes={hasher.size}-", "If-Range": etag}
            return self._take(_expecting(hasher.size, self._remote.ask(headers)), hasher, ranged)
        except (_Changed, DigestMismatch):
            return self.run(ranged, attempts=1)

    def _hash_kept(self, read: Read) -> Hasher:
        hasher = Hasher()
        size = self._kept.size if self._kept else 0
        while hasher.size < size and (data := read(min(CHUNK, size - hasher.size), hasher.size)):
            hasher.update(data)
        return hasher

    def _take(self, response: requests.Response, hasher: Hasher, read: Read | None) -> Fetched:
        """Receive the body; *hasher* has its beginning, unless *response* is the whole."""
        self._check_kept(response)
        if response.status_code != requests.codes.partial_content:
            hasher = Hasher()
        if read is not None and _worth_ranges(response):
            return self._in_ranges(response, hasher, read)
        return self._in_one_stream(response, hasher)

    def _check_kept(self, response: requests.Response) -> None:
        """Raise an error if *response* is not the body whose validator the draft is kept for."""
        kept = self._kept
        if kept is None or kept.etag is None:
            return
        if (response.headers.get("ETag"), _total(response)) != (kept.etag, kept.total):
            if response.status_code != requests.codes.partial_content:
                raise Anew(response)
            response.close()
            raise _Changed(f"{self._remote.name} changed while it was downloaded.")

    def _note(self, hasher: Hasher, *, now: bool = False) -> None:
        """Record the hashed bytes as received, in a draft kept by a validator."""
        if self._kept is not None and self._kept.etag is not None:
            self._kept.note(hasher.size, self._kept.total, now=now)

    def _in_one_stream(self, response: requests.Response, hasher: Hasher) -> Fetched:
        """Receive the rest from *response*; after a break, resume if the body is the same."""
        furthest, breaks = hasher.size, 0
        meter = Meter(self._progress, _total(response), self._remote.name)
        meter.add(hasher.size)
        noted = self._kept is not None and self._kept.etag is not None
        if not (noted and hasher.size):  # else there is a mark, which stays valid
            self._truncate(hasher.size)
        while True:
            try:
                self._take_chunks(response, hasher, meter)
            except Broken as error:
                # Only new bytes count as progress: some servers start over every time.
                breaks = 1 if hasher.size > furthest else breaks + 1
                furthest = max(furthest, hasher.size)
                if breaks > self._retries:
                    raise
                self._remote.connection.pause(breaks - 1, error)
            else:
                if noted:
                    self._truncate(hasher.size)  # the mark
                return self._verified(response.headers, hasher)
            response = self._go_on(response, hasher.size)
            if response.status_code != requests.codes.partial_content:
                self._check_kept(response)
                meter.add(-hasher.size)
                hasher = Hasher()
                self._truncate(0)

    def _take_chunks(self, response: requests.Response, hasher: Hasher, meter: Meter) -> None:
        try:
            for chunk in _chunks(response, self._remote.name):
                self._write(hasher.size, chunk)
                hasher.update(chunk)
                self._note(hasher)
                meter.add(len(chunk))
        except BaseException:
            self._note(hasher, now=True)
            raise

    def _go_on(self, broken: requests.Response, offset: int) -> requests.Response:
        """Request the rest from *offset* if the body is unchanged, else the whole."""
        etag = broken.headers.get("ETag", "")
        ranged = offset and etag.startswith('"')  # a weak one is not allowed (RFC 9110 §13.1.5)
        headers = {"Range": f"bytes={offset}-", "If-Range": etag} if ranged else {}
        return _expecting(offset, self._remote.ask(headers))

    def _in_ranges(self, head: requests.Response, hasher: Hasher, read: Read) -> Fetched:
        """Fetch the rest in concurrent ranges, hashing the received bytes in order."""
        head.close()
        size, etag = _total(head) or 0, head.headers["ETag"]
        meter = Meter(self._progress, size, self._remote.name)
        meter.add(hasher.size)
        jobs = [
            partial(self._range, start, min(size, start + RANGE), etag, meter)
            for start in range(hasher.size, size, RANGE)
        ]
        if self._kept is None:  # else there is a mark, or will be
            self._truncate(size)
        with self._kept.noting(hasher, size) if self._kept else contextlib.nullcontext():
            for _ in in_threads(jobs, self._remote.connection.pool, meter):
                stop = min(size, hasher.size + RANGE)
                while hasher.size < stop:
                    hasher.update(read(min(CHUNK, stop - hasher.size), hasher.size))
                if self._kept:
                    self._kept.note(hasher.size, size)
        self._truncate(size)
        return self._verified(head.headers, hasher)

    def _range(self, position: int, stop: int, etag: str, meter: Meter) -> None:
        breaks = 0
        while position < stop:
            headers = {"Range": f"bytes={position}-{stop - 1}", "If-Range": etag}
            response = _expecting(position, self._remote.ask(headers))
            if response.status_code != requests.codes.partial_content:
                response.close()
                raise _Changed(f"{self._remote.name} changed while it was downloaded.")
            before = position
            try:
                for chunk in _chunks(response, self._remote.name):
                    meter.add(len(chunk))
                    self._write(position, chunk)
                    position += len(chunk)
            except Broken as error:
                breaks = 1 if position > before else breaks + 1
                if breaks > self._retries:
                    raise
                self._remote.connection.pause(breaks - 1, error)

    def _verified(self, headers: Headers, hasher: Hasher) -> Fetched:
        announced = headers.get("Repr-Digest")
        known = self._remote.etag in {None, headers.get("ETag")}  # else it is of another version
        expected = self._remote.sha256 if known else None
        wanted = (from_repr_digest(announced) if announced else None) or expected
        if wanted is not None and hasher.digest != wanted:
            raise DigestMismatch(
                f"The bytes of {self._remote.name} do not match the server's digest. If this "
                "happens again, the stored file is damaged: an admin can run `dsx scrub --now`.",
                {"expected": wanted, "received": hasher.digest},
            )
        return Fetched(hasher.size, headers.get("ETag", "").strip('"'), hasher.digest)


def _worth_ranges(response: requests.Response) -> bool:
    return (
        (_length(response) or 0) >= PARALLEL_FROM
        and response.headers.get("Accept-Ranges") == "bytes"
        and response.headers.get("ETag", "").startswith('"')
    )


def _expecting(offset: int, response: requests.Response) -> requests.Response:
    """Return *response*; raise an error if it is a part that does not begin at *offset*."""
    begins = response.headers.get("Content-Range", "").startswith(f"bytes {offset}-")
    if response.status_code == requests.codes.partial_content and not begins:
        response.close()
        raise _Changed("The server answered with a range that was not requested.")
    return response


def _chunks(response: requests.Response, name: str) -> Iterator[bytes]:
    """Iterate over the body; raise `Broken` if it breaks or is shorter than its length."""
    missing = _length(response)
    size = _FIRST_CHUNK
    try:
        with response:
            begun = time.monotonic()
            while chunk := response.raw.read(size):
                slow = time.monotonic() - begun > _SLOW
                size = _FIRST_CHUNK if slow else min(2 * size, CHUNK)
                yield chunk
                if missing is not None:
                    missing -= len(chunk)
                begun = time.monotonic()
    except _BREAKS as error:
        raise Broken(f"The connection broke while {name} was downloaded: {error}") from error
    if missing:
        raise Broken(f"The connection ended before {name} did.")


def _length(response: requests.Response) -> int | None:
    header = response.headers.get("Content-Length")
    return int(header) if header is not None else None


def _total(response: requests.Response) -> int | None:
    """Return the length of the whole body, also for a partial response."""
    if response.status_code != requests.codes.partial_content:
        return _length(response)
    total = response.headers.get("Content-Range", "").rpartition("/")[2]
    return int(total) if total.isdecimal() else None
