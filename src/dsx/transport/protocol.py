"""The uvicorn protocol class of the hub, extended for a file server.

- The extensions of `dsx.transport.extensions`. Files go to the socket by ``sendfile``: a slow
  client costs a descriptor and a task, no thread and no buffer. Large bodies are read from the
  socket into a few lent buffers, one filling while a worker thread writes another.
- Bounds: a request's header must arrive within `HEAD_SECONDS` and is refused beyond `HEAD_BYTES`
  or `HEAD_FIELDS`; a body has ``stall_timeout`` seconds of patience, which bytes at ``min_rate``
  keep up; connections over ``limit`` get a 503.
- A response sent before the request's body has been read reaches even a client that keeps
  sending: the connection lingers (RFC 9112 §9.6) and is then closed.
- Input is parsed in pieces of `STEP` bytes, for `SLICE` seconds at a time: bodies in one-byte
  chunks take long. Pipelined requests are not parsed while others wait; malformed ones are
  refused after the responses to those before them.
- A client that half-closes gets its responses; an offered upgrade is declined (RFC 9110 §7.8).
"""

from __future__ import annotations

import asyncio
import errno
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar

from starlette.requests import ClientDisconnect
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from dsx.core.digest import Buffer
from dsx.core.shield import run_in_thread
from dsx.transport.body import BodyReceiver, Gate, always_open, content_length
from dsx.transport.extensions import INTERIM, RECEIVE_INTO, SETTINGS, TRAILERS, WANTED, ZERO_COPY
from dsx.transport.lingering import LingeringClose, ReadControl
from dsx.transport.parser import Parser
from dsx.transport.patience import Patience, bound_stalls
from dsx.transport.sendfile import send_slice
from dsx.transport.settings import ConnectionSettings

HEAD_SECONDS = 30.0
HEAD_BYTES = 64 * 1024
HEAD_FIELDS = 1000
STEP = 16 * 1024
SLICE = 0.002
_GONE = {errno.EPIPE, errno.ECONNRESET, errno.ETIMEDOUT, errno.EBADF, errno.ENOTCONN}
_BIG = 256 * 1024
_FINAL = {"type": "http.response.body", "body": b"", "more_body": False}


class DSXProtocol(HttpToolsProtocol):
    """One HTTP/1.1 connection.

    The application passes its `ConnectionSettings` in its lifespan state, as `SETTINGS`.
    """

    defaults: ClassVar[ConnectionSettings] = ConnectionSettings()
    parser: Parser

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accept the connection and wait for a request's header."""
        self.settings: ConnectionSettings = self.app_state.get(SETTINGS, self.defaults)
        if not self.settings.limit.admits(transport, len(self.connections)):
            return
        super().connection_made(transport)
        self.parser = Parser(self)
        self.flow = ReadControl(transport, self._held_back)
        if self.scheme == "http":
            # drain() must wait until all is sent: a file may follow, bypassing the transport.
            transport.set_write_buffer_limits(high=0)
        bound_stalls(transport.get_extra_info("socket"), self.settings.stall_timeout)
        self._parsed = 0
        self._unparsed = 0  # bytes since the last header or piece of a body
        self._ahead = b""  # unparsed: pipelined requests wait, or other connections need a turn
        self._going_on: asyncio.Handle | None = None  # the next turn of parsing
        self._running: RequestResponseCycle | None = None
        self._unread = False  # bytes after the last request are not parsed
        self._ended = False  # the client has half-closed
        self._stopping = False  # the server is shutting down
        self._head_deadline: asyncio.TimerHandle | None = None
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Release the connection."""
        self._stop_parsing()
        self._head_arrived()
        self.settings.limit.left()
        super().connection_lost(exc)
        if self._running is not None and not self._running.response_complete:
            # The base class notifies only the latest request, which may still be waiting.
            self._running.disconnected = True
            self._running.message_event.set()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Handle a half-close: stay open while complete requests await their responses."""
        self._ended = self._answering() and not self.cycle.more_body and self.scheme == "http"
        return self._ended

    def shutdown(self) -> None:
        """Finish the current requests and close."""
        self._stopping = True
        super().shutdown()

    def data_received(self, data: bytes) -> None:
        """Feed the parser, unless requests wait in the pipeline."""
        self._ahead += data
        if self._going_on is None:
            self._parse()

    def _held_back(self) -> bool:
        """Whether more bytes would only be queued."""
        return bool(self.pipeline) or self._going_on is not None

    def _parse(self) -> None:
        """Feed the parser for at most `SLICE` seconds, then let other connections run."""
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
        """Feed the parser, setting a deadline for a header that begins here."""
        if self._head_deadline is None and not self._answering():
            self._expect_head()
        self._unparsed += len(data)
        super().data_received(data)
        if self._unparsed > HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("The header or the trailer is too large.")

    def send_400_response(self, msg: str) -> None:
        """Refuse a malformed request and close, after the responses to the requests before it.

        If the response to the malformed request has begun, abort the connection.
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
        """Begin a request, unless it is the parser's own: see `Parser`."""
        if not self.parser.declining:
            self._head = 0  # bytes of its fields
            super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Handle a field of the header or the trailer."""
        if self.parser.declining:
            return
        self._head += len(name) + len(value)
        if len(self.headers) >= HEAD_FIELDS or self._head > HEAD_BYTES:
            raise ValueError("the header is too large")  # the parser reports a malformed request
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Start the application for a request whose header is complete."""
        if self.parser.declining:
            return
        self._head_arrived()
        self._parsed = self._unparsed = 0
        trailers: list[tuple[bytes, bytes]] = []
        self.headers = trailers  # the base class appends further fields here
        self.scope["extensions"] = {TRAILERS: lambda: trailers}  # type: ignore[dict-item]
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Count the bytes the parser passed on, so that `_receive_into` knows the rest."""
        self._parsed += len(body)
        self._unparsed = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End the body, unless it still follows an upgrade offer."""
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def framing(self) -> bytes:
        """A request header with only the framing of the current request's body."""
        lines = [
            name + b": " + value
            for name, value in self.cycle.scope["headers"]
            if name in {b"content-length", b"transfer-encoding"}
        ]
        return b"\r\n".join([b"POST / HTTP/1.1", *lines, b"", b""])

    def on_response_complete(self) -> None:
        """Continue with the next request, unless the rest must not be parsed."""
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
            scope = dict(scope)  # routes may change their copy; the connection needs the original
            if self.scheme == "http":  # under TLS the bytes must pass through the process
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
            except asyncio.CancelledError:  # uvicorn cancels what outlasts the shutdown grace
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
            # Send "close", but close only after lingering: see on_response_complete.
            cycle.keep_alive = False
            await cycle.send(message)
            cycle.keep_alive = True
        else:
            await cycle.send(message)

    def _is_last(self, cycle: RequestResponseCycle) -> bool:
        """Whether no request can follow *cycle*, as if answered before its body was read."""
        if cycle is not self.cycle or self.transport.is_closing():
            return False
        self._unread = self._unread or cycle.more_body
        return self._unread or self._ended

    async def _send_interim(
        self, cycle: RequestResponseCycle, status: int, headers: Mapping[str, str]
    ) -> None:
        """Send a 1xx response unless the final one has begun. *headers* must be safe."""
        if cycle is not self.cycle or cycle.response_started or self.transport.is_closing():
            return
        fields = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self.transport.write(f"HTTP/1.1 {status} \r\n{fields}\r\n".encode("latin-1"))
        await cycle.flow.drain()

    async def _send_file(self, cycle: RequestResponseCycle, message: Any) -> None:
        """Send ``count`` bytes of ``file`` from ``offset`` (ASGI's zero-copy extension).

        Raises `ClientDisconnect` if the client has left, `EOFError` if the file ends too soon.
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
        """Pass the rest of the request's body to *write*, in a worker thread; return its length.

        *write* gets the bytes in order; its buffer is reused once it returns. Raises what
        *write* raises, `ClientDisconnect` if the connection ends before the body does, `TimedOut`
        if the sender stalls.
        """
        length = content_length(cycle.scope["headers"])
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
        """Read the rest of the body from the socket, bypassing the parser, which is then reset.

        Bytes the parser has already passed on are written first; returns their count. No bytes may
        arrive between counting them and taking over the socket, so there is no ``await`` before
        `BodyReceiver`.
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
