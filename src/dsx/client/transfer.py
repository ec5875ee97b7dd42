"""Downloads: resumed when the connection breaks, in parallel ranges when large, and verified."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import requests
import urllib3

from dsx.client.errors import Broken
from dsx.client.http import Connection, wait_before
from dsx.client.progress import Meter, Progress
from dsx.core.digest import Buffer, Digest, Hasher, from_repr_digest
from dsx.core.errors import Conflict, DigestMismatch

CHUNK = 1024 * 1024
PARALLEL_FROM = 64 * 1024 * 1024
RANGE = 16 * 1024 * 1024
_BREAKS = (requests.RequestException, urllib3.exceptions.HTTPError, ConnectionError)


@dataclass(frozen=True, slots=True)
class Fetched:
    """What was downloaded: size in bytes, validator (without quotes), SHA-256."""

    size: int
    etag: str
    digest: Digest


Outcome = tuple[Fetched, str | None]
"""What arrived, and the Repr-Digest that announced it."""


class NotModified(Exception):
    """The copy the caller has is current."""


def fetch_bytes(
    connection: Connection, path: str, expected: str | None = None, progress: Progress | None = None
) -> bytes:
    """The body at *path* in memory, verified against *expected* or the server's Repr-Digest."""
    data = bytearray()

    def write(offset: int, chunk: Buffer) -> None:
        data[offset:] = chunk

    download = _Download(connection, path, write, progress)
    _verified(lambda: download.in_one_stream(download.open()), expected, path)
    return bytes(data)


def fetch_file(
    connection: Connection,
    path: str,
    descriptor: int,
    *,
    expected: str | None = None,
    etag: str | None = None,
    retries: int | None = None,
    progress: Progress | None = None,
) -> Fetched:
    """Write the body at *path* to an empty file; large ones come in parallel ranges.

    Raises `NotModified` if the server still has *etag*, `DigestMismatch` if the bytes are wrong
    twice, `Broken` if the connection keeps breaking without progress.
    """

    def write(offset: int, chunk: Buffer) -> None:
        view = memoryview(chunk)
        while view:
            written = os.pwrite(descriptor, view, offset)
            view, offset = view[written:], offset + written

    download = _Download(connection, path, write, progress)

    def attempt() -> Outcome:
        os.ftruncate(descriptor, 0)
        head = download.open(etag, retries)
        size = _length(head) or 0
        ranged = head.headers.get("Accept-Ranges") == "bytes" and "ETag" in head.headers
        if size < PARALLEL_FROM or not ranged:
            return download.in_one_stream(head)
        head.close()
        download.in_ranges(size, head.headers["ETag"])
        fetched = _hashed(descriptor, size, head.headers["ETag"])
        return fetched, head.headers.get("Repr-Digest")

    return _verified(attempt, expected, path)


def _verified(attempt: Callable[[], Outcome], expected: str | None, path: str) -> Fetched:
    """Try at most twice for bytes that are what was announced."""
    for last in (False, True):
        fetched, announced = attempt()
        wanted = (from_repr_digest(announced) if announced else None) or expected
        if wanted is None or fetched.digest == wanted:
            return fetched
        if last:
            raise DigestMismatch(
                f"The bytes of {path} are not the ones the server announced, twice over.",
                {"expected": wanted, "received": fetched.digest},
            )
    raise AssertionError


class _Download:
    """One body on its way: where from, and where to."""

    def __init__(
        self,
        connection: Connection,
        path: str,
        write: Callable[[int, Buffer], None],
        progress: Progress | None,
    ) -> None:
        self._connection = connection
        self._path = path
        self._write = write
        self._progress = progress

    def open(self, etag: str | None = None, retries: int | None = None) -> requests.Response:
        """Begin the answer; `NotModified` if the server still has *etag*."""
        headers = {"If-None-Match": f'"{etag}"'} if etag else {}
        response = self._connection.request(
            "GET", self._path, headers=headers, stream=True, retries=retries
        )
        if response.status_code == requests.codes.not_modified:
            response.close()
            raise NotModified
        return response

    def in_one_stream(self, response: requests.Response) -> Outcome:
        """Take the whole from *response*; after a break go on there, if it is still the same."""
        hasher = Hasher()
        meter = Meter(self._progress, _length(response), self._path)
        breaks = 0
        while True:
            etag, announced = response.headers.get("ETag"), response.headers.get("Repr-Digest")
            before = hasher.size
            try:
                for chunk in _chunks(response):
                    self._write(hasher.size, chunk)
                    hasher.update(chunk)
                    meter.add(len(chunk))
                return Fetched(hasher.size, (etag or "").strip('"'), hasher.digest), announced
            except Broken as error:
                breaks = self._count(breaks, hasher.size > before, error)
            response = self._resume(hasher.size, etag)
            if response.status_code != requests.codes.partial_content:
                meter.add(-hasher.size)
                hasher = Hasher()

    def in_ranges(self, size: int, etag: str) -> None:
        """Fetch the whole in ranges, several at once."""
        meter = Meter(self._progress, size, self._path)
        with ThreadPoolExecutor(self._connection.pool) as pool:
            parts = [
                pool.submit(self._range, start, min(size, start + RANGE), etag, meter)
                for start in range(0, size, RANGE)
            ]
            try:
                for part in parts:
                    part.result()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise

    def _range(self, position: int, stop: int, etag: str, meter: Meter) -> None:
        breaks = 0
        while position < stop:
            headers = {"Range": f"bytes={position}-{stop - 1}", "If-Range": etag}
            response = self._connection.request("GET", self._path, headers=headers, stream=True)
            if response.status_code != requests.codes.partial_content:
                response.close()
                raise Conflict(f"{self._path} changed while it was downloaded; start again.")
            before = position
            try:
                for chunk in _chunks(response):
                    self._write(position, chunk)
                    position += len(chunk)
                    meter.add(len(chunk))
            except Broken as error:
                breaks = self._count(breaks, position > before, error)

    def _resume(self, offset: int, etag: str | None) -> requests.Response:
        headers = {"Range": f"bytes={offset}-", "If-Range": etag} if etag and offset else {}
        return self._connection.request("GET", self._path, headers=headers, stream=True)

    def _count(self, breaks: int, progressed: bool, error: Broken) -> int:
        """Breaks in a row without a byte in between; gives up after too many, else waits."""
        breaks = 0 if progressed else breaks + 1
        if breaks > self._connection.retries:
            raise error
        time.sleep(wait_before(breaks, error))
        return breaks


def _chunks(response: requests.Response) -> Iterator[bytes]:
    """The body in chunks; `Broken` if the connection breaks or it is shorter than announced."""
    missing = _length(response)
    try:
        with response:
            while chunk := response.raw.read(CHUNK):
                yield chunk
                if missing is not None:
                    missing -= len(chunk)
    except _BREAKS as error:
        raise Broken(f"The connection broke: {error}") from error
    if missing:
        raise Broken("The connection ended before the body did.")


def _length(response: requests.Response) -> int | None:
    header = response.headers.get("Content-Length")
    return int(header) if header is not None else None


def _hashed(descriptor: int, size: int, etag: str) -> Fetched:
    hasher = Hasher()
    while chunk := os.pread(descriptor, CHUNK, hasher.size):
        hasher.update(chunk)
    if hasher.size != size:
        raise DigestMismatch(f"{hasher.size} bytes arrived instead of {size}.")
    return Fetched(size, etag.strip('"'), hasher.digest)
