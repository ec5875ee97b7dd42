"""Our uvicorn protocol class: what a file server needs beyond uvicorn's own.

- ``http.response.zerocopysend`` (ASGI extension): files go to the socket by ``sendfile``, whole or
  in part, without passing through Python. A slow client costs a descriptor and a task, no thread
  and no buffer; one that takes no byte for ``stall_timeout`` is cut off.
- `RECEIVE_INTO` (our extension): large bodies are read from the socket into a few lent buffers,
  one filling while a worker thread writes the other.
- `INTERIM` (our extension): 1xx responses before the final one.
- `TRAILERS` (our extension): what came behind a chunked body.
- `WANTED` (our extension): whether an answer that has no end is to go on.
- Bounds: a request's head must arrive within `HEAD_SECONDS` and is cut off beyond `HEAD_BYTES`
  or `HEAD_FIELDS`; a body has ``stall_timeout`` seconds of patience, which bytes at ``min_rate``
  keep up; connections over ``limit`` are answered with 503.
- A request that is answered before its body has been read gets its answer, even if it goes on
  sending: the connection lingers (RFC 9112 §9.6) and is then closed.
- What comes is parsed in pieces of `STEP` bytes, and for `SLICE` seconds at a time: bodies in
  chunks of a byte take long. Requests that are sent ahead (pipelined) are not parsed while others
  wait; what is no request is refused after the answers to those before it.
- A client that says it will send no more (half-close) still gets its answers.
- An offered upgrade is declined: the request is served as any other (RFC 9110 §7.8).
"""

from __future__ import annotations

import asyncio
import errno
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from dsx.core.digest import Buffer
from dsx.core.shield import run_in_thread
from dsx.transport.admission import ConnectionLimit
from dsx.transport.body import BodyReceiver, Gate, always_open
from dsx.transport.lingering import LingeringClose, ReadControl
from dsx.transport.parser import Parser
from dsx.transport.patience import Patience
from dsx.transport.sendfile import send_slice

ZERO_COPY = "http.response.zerocopysend"
RECEIVE_INTO = "dsx.request.receive_into"
TRAILERS = "dsx.request.trailers"
INTERIM = "dsx.response.interim"
WANTED = "dsx.response.wanted"
SETTINGS = "dsx.connections"
HEAD_SECONDS = 30.0
HEAD_BYTES = 64 * 1024
HEAD_FIELDS = 1000
STEP = 16 * 1024
SLICE = 0.002
_GONE = {errno.EPIPE, errno.ECONNRESET, errno.ETIMEDOUT, errno.EBADF, errno.ENOTCONN}
_TCP = {socket.AF_INET, socket.AF_INET6}
_BIG = 256 * 1024
_FINAL = {"type": "http.response.body", "body": b"", "more_body": False}


@dataclass(frozen=True)
class ConnectionSettings:
    """What holds for all connections of a process."""

    stall_timeout: float = 60.0
    """Seconds for which a client may send or take no byte."""
    min_rate: float = 0.0
    """Bytes a second that keep the patience with a sender up; 0: any byte does."""
    limit: ConnectionLimit = field(default_factory=ConnectionLimit)
    stopped: ASGIApp | None = None
    """Answers requests that a stop's grace is too short for; None: their connections break."""


class DSXProtocol(HttpToolsProtocol):
    """One HTTP/1.1 connection.

    The application hands its `ConnectionSettings` in by the state of its lifespan, as `SETTINGS`.
    """

    defaults: ClassVar[ConnectionSettings] = ConnectionSettings()
    parser: Parser

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accept, and begin to wait for a head."""
        self.settings: ConnectionSettings = self.app_state.get(SETTINGS, self.defaults)
        if not self.settings.limit.admits(transport, len(self.connections)):
            return
        super().connection_made(transport)
        self.parser = Parser(self)
        self.flow = ReadControl(transport, self._held_back)
        if self.scheme == "http":
            # drain() is to wait until all has left, for a file may follow past the transport.
            transport.set_write_buffer_limits(high=0)
        self._bound_stalls(transport.get_extra_info("socket"))
        self._parsed = 0
        self._unparsed = 0  # bytes since the last head or piece of a body: heads, trailers
        self._ahead = b""  # unparsed, because requests wait in the pipeline, or others for a turn
        self._going_on: asyncio.Handle | None = None  # parsing, in a turn that comes soon
        self._running: RequestResponseCycle | None = None
        self._unread = False  # what follows the last request is not read as one
        self._ended = False  # the client sends no more
        self._stopping = False  # the server is about to
        self._head_deadline: asyncio.TimerHandle | None = None
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop_parsing()
        self._head_arrived()
        self.settings.limit.left()
        super().connection_lost(exc)
        if self._running is not None and not self._running.response_complete:
            # The base class tells only the latest request, which may still wait for its turn.
            self._running.disconnected = True
            self._running.message_event.set()

    def eof_received(self) -> bool:  # type: ignore[override]
        """The client sends no more: go on as long as there are whole requests to answer."""
        self._ended = self._answering() and not self.cycle.more_body and self.scheme == "http"
        return self._ended

    def shutdown(self) -> None:
        """The server stops: answer what has been asked, and close."""
        self._stopping = True
        super().shutdown()

    def data_received(self, data: bytes) -> None:
        """Feed the parser, unless requests wait in the pipeline."""
        self._ahead += data
        if self._going_on is None:
            self._parse()

    def _held_back(self) -> bool:
        """Whether more bytes would only wait here."""
        return bool(self.pipeline) or self._going_on is not None

    def _parse(self) -> None:
        """Feed the parser what there is, for a moment; then it is the turn of other connections."""
        self._stop_parsing()
        data, position = self._ahead, 0
        end = time.monotonic() + SLICE
        while position < len(data) and not (self.pipeline or self._unread):
            self._parse_piece(data[position : position + STEP])
            position += STEP
            if self.transport.is_closing():
                self._ahead = b""
                return
            if time.monotonic() > end:
                break
        self._ahead = b"" if self._unread else data[position:]
        if self._ahead and not self.pipeline:
            self._going_on = self.loop.call_soon(self._parse_on)
        if self._held_back():
            self.flow.pause_reading()

    def _parse_on(self) -> None:
        self._parse()
        self.flow.resume_reading()

    def _stop_parsing(self) -> None:
        if self._going_on is not None:
            self._going_on.cancel()
            self._going_on = None

    def _parse_piece(self, data: bytes) -> None:
        """Feed the parser; a head that begins here has a deadline."""
        if self._head_deadline is None and not self._answering():
            self._expect_head()
        self._unparsed += len(data)
        super().data_received(data)
        if self._unparsed > HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("The head or the trailer is too large.")

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no request and close, but let the requests before it have their answers.

        In the middle of an answer to a request that is itself refused here, only break off.
        """
        if not self._answering():
            super().send_400_response(msg)
        elif not self.cycle.more_body:
            self._unread = True
        elif self.cycle.response_started or self.pipeline:
            self.transport.abort()
        else:
            super().send_400_response(msg)

    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def on_message_begin(self) -> None:
        """A request begins, unless it is our own: see `Parser`."""
        if not self.parser.declining:
            self._head = 0  # bytes of its fields
            super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field of the head, or of the trailer."""
        if self.parser.declining:
            return
        self._head += len(name) + len(value)
        if len(self.headers) >= HEAD_FIELDS or self._head > HEAD_BYTES:
            raise ValueError("the head is too large")  # which the parser takes for no request
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """A request's head is whole: start the application."""
        if self.parser.declining:
            return
        self._head_arrived()
        self._parsed = self._unparsed = 0
        trailers: list[tuple[bytes, bytes]] = []
        self.headers = trailers  # where the base class puts what comes from now on
        self.scope["extensions"] = {TRAILERS: lambda: trailers}  # type: ignore[dict-item]
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Count what the parser has passed on, so that `_receive_into` knows what is left."""
        self._parsed += len(body)
        self._unparsed = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The body is whole, unless it is yet to come behind an offer to upgrade."""
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def framing(self) -> bytes:
        """A head that says of the current request's body how long it is, and nothing else."""
        lines = [
            name + b": " + value
            for name, value in self.cycle.scope["headers"]
            if name in {b"content-length", b"transfer-encoding"}
        ]
        return b"\r\n".join([b"POST / HTTP/1.1", *lines, b"", b""])

    def on_response_complete(self) -> None:
        """Go on with the next request, unless what follows this one is not to be read."""
        if self.pipeline or not (self._unread or self._ended):
            super().on_response_complete()
            if not self.transport.is_closing():
                self._parse()
                self.flow.resume_reading()
        elif self._ended:
            self.transport.close()
        else:
            self._linger()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        patience = Patience(self.settings.stall_timeout, self.settings.min_rate)

        async def extended(scope: Any, _receive: Any, _send: Any) -> None:
            scope = dict(scope)  # routes may change theirs; the connection goes by what was sent
            if self.scheme == "http":  # under TLS the bytes have to pass through the process
                scope["extensions"][ZERO_COPY] = {}
            scope["extensions"][RECEIVE_INTO] = lambda write, gate: self._receive_into(
                cycle, patience, write, gate
            )
            scope["extensions"][WANTED] = lambda: (
                not (self._stopping or self._ended or cycle.disconnected)
            )
            scope["extensions"][INTERIM] = lambda *said: self._send_interim(cycle, *said)
            receive, send = partial(self._receive, cycle, patience), partial(self._send, cycle)
            try:
                await app(scope, receive, send)
            except asyncio.CancelledError:  # uvicorn's way to end what outlasts a stop's grace
                if not self._stopping:
                    raise
                if not cycle.response_started and self.settings.stopped is not None:
                    await self.settings.stopped(scope, receive, send)
                cycle.disconnected = True
                self.transport.close()

        super()._start_asgi_task(cycle, extended)

    async def _receive(
        self, cycle: RequestResponseCycle, patience: Patience, gate: Gate = always_open
    ) -> Any:
        if not cycle.more_body or cycle.body or cycle.response_complete:
            return await cycle.receive()
        while True:
            begun = self.loop.time()
            try:
                async with asyncio.timeout(max(0, patience.left)):
                    message = await cycle.receive()
            except TimeoutError:
                await patience.excuse(gate)
                continue
            patience.spend(self.loop.time() - begun)
            patience.earn(len(message.get("body", b"")))  # type: ignore[arg-type]
            return message

    async def _send(self, cycle: RequestResponseCycle, message: Any) -> None:
        if message["type"] == ZERO_COPY:
            await self._send_file(cycle, message)
        elif message["type"] == "http.response.start" and self._is_last(cycle):
            # Say "close", but close only after lingering: see on_response_complete.
            cycle.keep_alive = False
            await cycle.send(message)
            cycle.keep_alive = True
        else:
            await cycle.send(message)

    def _is_last(self, cycle: RequestResponseCycle) -> bool:
        """Whether nothing can follow *cycle*, be it because it is answered before it is whole."""
        if cycle is not self.cycle or self.transport.is_closing():
            return False
        self._unread = self._unread or cycle.more_body
        return self._unread or self._ended

    async def _send_interim(
        self, cycle: RequestResponseCycle, status: int, headers: Mapping[str, str]
    ) -> None:
        """Send a 1xx response, unless the final one has begun. *headers* are ours, and safe."""
        if cycle is not self.cycle or cycle.response_started or self.transport.is_closing():
            return
        fields = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self.transport.write(f"HTTP/1.1 {status} \r\n{fields}\r\n".encode("latin-1"))
        await cycle.flow.drain()

    async def _send_file(self, cycle: RequestResponseCycle, message: Any) -> None:
        """Send ``count`` bytes of ``file`` from ``offset``, as ASGI's zero-copy extension asks.

        Raises `ClientDisconnect` if the client is gone, `EOFError` if the file ends too soon.
        """
        await cycle.flow.drain()
        if cycle.disconnected or self.transport.is_closing():
            raise ClientDisconnect
        count = message["count"]
        if cycle.scope["method"] != "HEAD" and count:
            if cycle.chunked_encoding:
                self.transport.write(b"%x\r\n" % count)
            try:
                await send_slice(
                    self.transport.get_extra_info("socket"),
                    message["file"].fileno(),
                    message["offset"],
                    count,
                )
            except OSError as error:
                if error.errno not in _GONE:
                    raise
                self.transport.abort()
                raise ClientDisconnect from None
            if cycle.chunked_encoding:
                self.transport.write(b"\r\n")
            else:
                cycle.expected_content_length -= count
        if not message.get("more_body", False):
            await cycle.send(_FINAL)  # type: ignore[arg-type]

    async def _receive_into(
        self,
        cycle: RequestResponseCycle,
        patience: Patience,
        write: Callable[[Buffer], object],
        gate: Gate,
    ) -> int:
        """Hand the rest of the request's body to *write*, in a worker thread, and count it.

        *write* gets the bytes in order; its buffer is used again once it returns. Raises what
        *write* raises, `ClientDisconnect` if the connection ends before the body does, `TimedOut`
        if the sender stalls.
        """
        length = _content_length(cycle)
        total = 0
        while True:
            await gate()
            left = length - self._parsed if length is not None else 0
            whole = cycle.more_body and not (cycle.waiting_for_100_continue or self._ahead)
            if left > _BIG and whole:
                receiver = partial(BodyReceiver, self, self.transport, left, patience)
                return total + left + await self._receive_directly(cycle, receiver, write, gate)
            message = await self._receive(cycle, patience, gate)
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            if message["body"]:
                await run_in_thread(write, message["body"])
                total += len(message["body"])
            if not message["more_body"]:
                return total

    async def _receive_directly(
        self,
        cycle: RequestResponseCycle,
        make: Callable[[], BodyReceiver],
        write: Callable[[Buffer], object],
        gate: Gate,
    ) -> int:
        """Take the rest of the body off the socket past the parser, which then starts afresh.

        Returns how much the parser had passed on, which is written, too.
        What the parser has passed on already is written first; nothing may come between counting
        that and taking over the socket, so there is no ``await`` before `BodyReceiver`.
        """
        if cycle.disconnected:
            raise ClientDisconnect
        passed_on = bytes(cycle.body)
        cycle.body.clear()
        receiver = make()
        self.flow.resume_reading()
        try:
            if passed_on:
                await run_in_thread(write, passed_on)
            await receiver.run(write, gate)
        finally:
            receiver.detach()
        self.parser = Parser(self)
        cycle.more_body = False
        return len(passed_on)

    def _bound_stalls(self, connection: socket.socket) -> None:
        """Have the kernel break off when a client takes no byte for ``stall_timeout`` seconds."""
        if connection.family in _TCP and hasattr(socket, "TCP_USER_TIMEOUT"):
            milliseconds = int(self.settings.stall_timeout * 1000)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)

    def _expect_head(self) -> None:
        self._head_deadline = self.loop.call_later(HEAD_SECONDS, self.transport.abort)

    def _head_arrived(self) -> None:
        if self._head_deadline is not None:
            self._head_deadline.cancel()
            self._head_deadline = None

    def _linger(self) -> None:
        self.transport.set_protocol(LingeringClose(self, self.transport))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.transport.resume_reading()


def _content_length(cycle: RequestResponseCycle) -> int | None:
    for name, value in cycle.scope["headers"]:
        if name == b"content-length":
            return int(value)
    return None
