"""Sends a `Content`: whole or in ranges, conditionally, and without copying where possible."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import structlog
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from dsx.core.content import Content, FileSlice, Literal, Piece
from dsx.core.digest import to_repr_digest
from dsx.core.ranges import ByteRange, parse_range
from dsx.http.conditions import evaluate, http_date, range_applies
from dsx.http.server import ZERO_COPY

log = structlog.get_logger(__name__)

_ANY_BYTES = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
DOWNLOADS: dict[int | str, dict[str, Any]] = {
    200: {"description": "The whole.", "content": _ANY_BYTES},
    206: {"description": "The ranges that were asked for.", "content": _ANY_BYTES},
    304: {"description": "Your copy is current."},
}
"""OpenAPI ``responses`` of a route that answers with a `ContentResponse`."""

CHUNK = 1024 * 1024
SMALL = 64 * 1024


class ContentResponse(Response):
    """The answer to GET or HEAD for a `Content` (RFC 9110 §13, §14).

    Constructing it evaluates the request's conditions, so it may raise `PreconditionFailed` or
    `RangeUnsatisfiable`. If a piece fails in the middle, the connection is broken off: a client
    never takes a part for the whole.
    """

    def __init__(self, request: Request, content: Content) -> None:
        self.content = content
        self.background = None
        self.status_code = 200
        headers = _validators(content)
        if evaluate(request.headers, content.etag, content.modified):
            self.status_code = 304
            self.ranges: list[ByteRange] = []
            self.init_headers(headers)
            return
        headers |= _representation(content)
        ranges = _wanted(request, content)
        self.ranges = ranges or [ByteRange(0, content.size)]
        self.boundary = secrets.token_hex(12)
        length = content.size
        if ranges:
            self.status_code = 206
            length = ranges[0].size
            headers["Content-Range"] = ranges[0].content_range(content.size)
        if ranges and len(ranges) > 1:
            del headers["Content-Range"]
            headers["Content-Type"] = f"multipart/byteranges; boundary={self.boundary}"
            heads = [len(head) for head in self._part_heads()]
            length = sum(heads) + sum(part.size for part in ranges) + len(self._end())
        headers["Content-Length"] = str(length)
        self.init_headers(headers)

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Send it. Whatever breaks after the head breaks the connection, and is logged."""
        start = {
            "type": "http.response.start",
            "status": self.status_code,
            "headers": self.raw_headers,
        }
        await send(start)
        if scope["method"] == "HEAD" or self.status_code == 304:  # noqa: PLR2004 (the status)
            await send({"type": "http.response.body", "body": b""})
            return
        zero_copy = ZERO_COPY in scope.get("extensions", {})
        try:
            async for piece in self._pieces():
                if isinstance(piece, Literal):
                    await _body(send, piece.data)
                elif isinstance(piece, FileSlice):
                    await _send_slice(piece, send, zero_copy=zero_copy)
                else:
                    async for chunk in piece.chunks():
                        await _body(send, chunk)
            await send({"type": "http.response.body", "body": b""})
        except ClientDisconnect:
            return
        except Exception as error:  # noqa: BLE001 (the head is out: all we can do is break off)
            log.warning("download broken off", path=scope["path"], error=str(error))

    async def _pieces(self) -> AsyncIterator[Piece]:
        if len(self.ranges) == 1:
            (whole,) = self.ranges
            if whole.size:
                async for piece in self.content.pieces(whole.start, whole.stop):
                    yield piece
            return
        for head, part in zip(self._part_heads(), self.ranges, strict=True):
            yield Literal(head)
            async for piece in self.content.pieces(part.start, part.stop):
                yield piece
        yield Literal(self._end())

    def _part_heads(self) -> list[bytes]:
        """What precedes each part of a multipart/byteranges body (RFC 9110 §14.6)."""
        return [
            (
                f"\r\n--{self.boundary}\r\nContent-Type: {self.content.content_type}\r\n"
                f"Content-Range: {part.content_range(self.content.size)}\r\n\r\n"
            ).encode()
            for part in self.ranges
        ]

    def _end(self) -> bytes:
        return f"\r\n--{self.boundary}--\r\n".encode()


def content_disposition(filename: str) -> str:
    """``attachment`` with the name in ASCII and, if that loses something, in UTF-8 (RFC 6266)."""
    plain = "".join(c if " " <= c <= "~" and c not in '"\\%' else "_" for c in filename)
    if plain == filename:
        return f'attachment; filename="{plain}"'
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(filename, safe='')}"


def _wanted(request: Request, content: Content) -> list[ByteRange] | None:
    """The ranges to answer; None: the whole (RFC 9110 §14.2: only GET has ranges)."""
    header = request.headers.get("range")
    if header is None or request.method != "GET":
        return None
    if not range_applies(request.headers.get("if-range"), content.etag, content.modified):
        return None
    return parse_range(header, content.size)


def _validators(content: Content) -> dict[str, str]:
    return {
        "ETag": f'"{content.etag}"',
        "Last-Modified": http_date(content.modified),
        "Cache-Control": "private, no-cache",
    }


def _representation(content: Content) -> dict[str, str]:
    headers = {
        "Accept-Ranges": "bytes",
        "Content-Type": content.content_type,
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "sandbox",
    }
    if content.filename is not None:
        headers["Content-Disposition"] = content_disposition(content.filename)
    if content.digest is not None:
        headers["Repr-Digest"] = to_repr_digest(content.digest)
    return headers


async def _body(send: Send, data: bytes | memoryview) -> None:
    await send({"type": "http.response.body", "body": data, "more_body": True})


async def _send_slice(piece: FileSlice, send: Send, *, zero_copy: bool) -> None:
    if piece.size <= SMALL:
        await _body(send, await run_in_threadpool(_read_small, piece))
        return
    descriptor = await run_in_threadpool(piece.open)
    try:
        if zero_copy:
            await send(_zero_copy(descriptor, piece))
            return
        position, stop = piece.start, piece.start + piece.size
        while position < stop:
            size = min(CHUNK, stop - position)
            chunk = await run_in_threadpool(os.pread, descriptor, size, position)
            if not chunk:
                raise OSError("the file is shorter than promised")
            await _body(send, chunk)
            position += len(chunk)
    finally:
        os.close(descriptor)


def _read_small(piece: FileSlice) -> bytes:
    descriptor = piece.open()
    try:
        data = os.pread(descriptor, piece.size, piece.start)
    finally:
        os.close(descriptor)
    if len(data) != piece.size:
        raise OSError("the file is shorter than promised")
    return data


class _Descriptor:
    """The least that counts as a file for the zero-copy extension."""

    mode = "rb"

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def fileno(self) -> int:
        return self._descriptor


def _zero_copy(descriptor: int, piece: FileSlice) -> dict[str, Any]:
    os.posix_fadvise(descriptor, piece.start, piece.size, os.POSIX_FADV_SEQUENTIAL)
    return {
        "type": ZERO_COPY,
        "file": _Descriptor(descriptor),
        "offset": piece.start,
        "count": piece.size,
        "more_body": True,
    }
