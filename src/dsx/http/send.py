"""Sends a `Content`: whole or in ranges, conditionally, and without copying where possible."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import quote

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from dsx.core.content import Content, FileSlice, Literal, Piece, Stream
from dsx.core.digest import to_repr_digest
from dsx.core.disk import disk
from dsx.core.errors import Damaged
from dsx.core.ranges import ByteRange, parse_range
from dsx.core.shield import run_in_thread
from dsx.http.conditions import evaluate, http_date, range_applies
from dsx.transport.extensions import ZERO_COPY

log = structlog.get_logger(__name__)

_ANY_BYTES = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
DOWNLOADS: dict[int | str, dict[str, Any]] = {
    200: {"description": "The whole content.", "content": _ANY_BYTES},
    206: {"description": "The requested ranges.", "content": _ANY_BYTES},
    304: {"description": "Your copy is current."},
}
"""OpenAPI ``responses`` of a route that returns a `ContentResponse`."""

CHUNK = 1024 * 1024
SMALL = 64 * 1024
BATCH = 256 * 1024
_END = {"type": "http.response.body", "body": b""}


class ContentResponse(Response):
    """The response to GET or HEAD for a `Content` (RFC 9110 §13, §14).

    The constructor evaluates the request's conditions, so it may raise `PreconditionFailed` or
    `RangeUnsatisfiable`. If a piece fails midway, the connection is aborted: a client never takes
    a part for the whole.
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

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it. A failure after the header is logged and aborts the connection."""
        start = {
            "type": "http.response.start",
            "status": self.status_code,
            "headers": self.raw_headers,
        }
        async with aclosing(_prepared(self._pieces())) as parts:
            # Before the header is sent, a missing file can still be answered with 410.
            part: _Part | None = await anext(parts, None)
            await send(start)
            if scope["method"] == "HEAD":
                part = None
            try:
                while part is not None:
                    await _send_part(part, scope, receive, send)
                    part = await anext(parts, None)
                await send(_END)
            except ClientDisconnect:
                return
            except Exception as error:  # noqa: BLE001 (the header is sent: all we can do is abort)
                log.warning("download aborted", path=scope["path"], error=str(error))

    async def _pieces(self) -> AsyncIterator[Piece]:
        if len(self.ranges) <= 1:
            for whole in self.ranges:
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
        """The header of each part of a multipart/byteranges body (RFC 9110 §14.6)."""
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
    """The ranges to send; None: everything (RFC 9110 §14.2: only GET has ranges)."""
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
        "Content-Security-Policy": "sandbox",
    }
    if content.filename is not None:
        headers["Content-Disposition"] = content_disposition(content.filename)
    if content.digest is not None:
        headers["Repr-Digest"] = to_repr_digest(content.digest)
    return headers


@dataclass(frozen=True, slots=True)
class _Opened:
    """``size`` bytes of an open file, from ``position`` on."""

    descriptor: int
    position: int
    size: int
    mode: ClassVar[str] = "rb"

    def fileno(self) -> int:
        """The descriptor, which makes this a file for the zero-copy extension."""
        return self.descriptor


@dataclass(frozen=True, slots=True)
class _Begun:
    """A stream whose first bytes have been fetched."""

    first: bytes
    rest: AsyncIterator[bytes]


_Part = bytes | _Opened | _Begun


async def _prepared(pieces: AsyncIterator[Piece]) -> AsyncGenerator[_Part, None]:
    """*pieces* with files opened, streams begun, and runs of small files read together."""
    small: list[Literal | FileSlice] = []
    size = 0
    async for piece in pieces:
        if isinstance(piece, Stream) or piece.size > SMALL:
            if small:
                yield await run_in_thread(_read_all, small)
                small, size = [], 0
            async with _opened(piece) as part:
                yield part
            continue
        small.append(piece)
        size += piece.size
        if size >= BATCH:
            yield await run_in_thread(_read_all, small)
            small, size = [], 0
    if small:
        yield await run_in_thread(_read_all, small)


@asynccontextmanager
async def _opened(piece: Piece) -> AsyncIterator[_Part]:
    if isinstance(piece, Literal):
        yield piece.data
        return
    if isinstance(piece, Stream):
        chunks = piece.chunks()
        yield _Begun(await anext(chunks, b""), chunks)
        return
    with disk():
        descriptor = await run_in_thread(piece.open)
    try:
        os.posix_fadvise(descriptor, piece.start, piece.size, os.POSIX_FADV_SEQUENTIAL)
        yield _Opened(descriptor, piece.start, piece.size)
    finally:
        # The last descriptor of a deleted file frees its blocks: not on the event loop.
        await run_in_thread(os.close, descriptor)


def _read_all(pieces: Sequence[Literal | FileSlice]) -> bytes:
    return b"".join(map(_read, pieces))


def _read(piece: Literal | FileSlice) -> bytes:
    if isinstance(piece, Literal):
        return piece.data
    with disk():
        descriptor = piece.open()
        try:
            data = os.pread(descriptor, piece.size, piece.start)
        finally:
            os.close(descriptor)
    if len(data) != piece.size:
        raise Damaged("The file is shorter than recorded.")
    return data


async def _send_part(part: _Part, scope: Scope, receive: Receive, send: Send) -> None:
    if isinstance(part, bytes):
        await _body(part, receive, send)
    elif isinstance(part, _Begun):
        await _body(part.first, receive, send)
        async for chunk in part.rest:
            await _body(chunk, receive, send)
    elif ZERO_COPY in scope.get("extensions", {}):
        where = {"file": part, "offset": part.position, "count": part.size}
        await send({"type": ZERO_COPY, **where, "more_body": True})
    else:
        await _copy(part, receive, send)


async def _copy(part: _Opened, receive: Receive, send: Send) -> None:
    position, stop = part.position, part.position + part.size
    while position < stop:
        chunk = await run_in_thread(
            os.pread, part.descriptor, min(CHUNK, stop - position), position
        )
        if not chunk:
            raise EOFError("the file is shorter than its declared length")
        await _body(chunk, receive, send)
        position += len(chunk)


async def _body(data: bytes, receive: Receive, send: Send) -> None:
    """Send *data*, then check for a disconnect: servers report it only on request."""
    await send({"type": "http.response.body", "body": data, "more_body": True})
    if len(data) >= BATCH and await Request({"type": "http"}, receive).is_disconnected():
        raise ClientDisconnect
