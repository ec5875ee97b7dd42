"""A TCP proxy in front of an HTTP/1.1 server that breaks chosen things on the way.

    with corrupting_proxy(hub.url) as proxy:
        proxy.faults = Faults(flip_body=1)
        ...  # talk to proxy.url
        assert proxy.faults.fired

Each `Faults` counts from zero when it is put in place, and each fault in it strikes once. It knows
just enough of HTTP to find where a request begins and where its body is; replies pass as they are.
"""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BufferedReader
from urllib.parse import urlsplit

_PIECE = 1 << 16


class _Cut(Exception):
    """The connection is to be broken off here."""


@dataclass
class Faults:
    """What goes wrong; numbers of requests and bodies start at 1."""

    flip_body: int | None = None  # flip a bit in the n-th body that is not empty
    cut_after: int | None = None  # break the connection after n bytes to the server
    hang_after: int | None = None  # pass nothing on after n bytes to the server, see `resume`
    cut_after_replies: int | None = None  # the same two after n bytes from the server
    hang_after_replies: int | None = None
    hang_after_ranges: int | None = None  # and after n bytes in answers to requests for ranges
    drop_reply: int | None = None  # let the n-th request through and break off before its reply
    fired: list[str] = field(default_factory=list)  # what went wrong so far
    requests: int = 0
    bodies: int = 0
    sent: int = 0  # bytes to the server, heads included
    replied: int = 0  # bytes from it
    ranged: int = 0  # of these, in answers to requests for ranges
    asked: list[tuple[str, int]] = field(default_factory=list)  # "PUT /path", length of the body
    ranges: list[str] = field(default_factory=list)  # that were asked for
    lock: threading.Lock = field(default_factory=threading.Lock)
    _moving: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._moving.set()

    def resume(self) -> None:
        """End a hang."""
        self._moving.set()

    def wait(self) -> None:
        """Return unless, or once no longer, everything hangs."""
        self._moving.wait()

    def answered(self, data: bytes, *, ranged: bool) -> None:
        """The server has sent *data*; return once it may go to the client."""
        with self.lock:
            self.replied += len(data)
            self.ranged += len(data) if ranged else 0
            for fault, count in (
                ("cut_after_replies", self.replied),
                ("hang_after_replies", self.replied),
                ("hang_after_ranges", self.ranged),
            ):
                limit = getattr(self, fault)
                if limit is not None and limit <= count and fault not in self.fired:
                    self.fired.append(fault)
                    if fault == "cut_after_replies":
                        raise _Cut
                    self._moving.clear()
        self.wait()

    def parts(self) -> list[tuple[str, int]]:
        """Of the requests so far, those that send a part of an upload."""
        return [(line, length) for line, length in list(self.asked) if line.startswith("PUT ")]

    def strikes(self, fault: str, count: int) -> bool:
        """Whether *fault* is due at *count*; then it is recorded as done."""
        if getattr(self, fault) != count or fault in self.fired:
            return False
        self.fired.append(fault)
        return True

    def counted(self, counter: str, fault: str) -> bool:
        """Count one more of *counter*; whether *fault* is for this one."""
        with self.lock:
            count = getattr(self, counter) + 1
            setattr(self, counter, count)
            return self.strikes(fault, count)

    def admit(self, data: bytes) -> tuple[bytes, bool]:
        """How much of *data* may go to the server now, and whether the connection ends there."""
        with self.lock:
            limits = [
                limit - self.sent
                for fault, limit in (("cut_after", self.cut_after), ("hang_after", self.hang_after))
                if limit is not None and fault not in self.fired
            ]
            admitted = data[: min(limits, default=len(data))]
            self.sent += len(admitted)
            if self.strikes("hang_after", self.sent):
                self._moving.clear()
            return admitted, self.strikes("cut_after", self.sent)


class Proxy(socketserver.ThreadingTCPServer):
    """The proxy; `url` is what clients are given, `faults` may be replaced at any time."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, target: str) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        parts = urlsplit(target)
        assert parts.hostname is not None
        assert parts.port is not None
        self.target = (parts.hostname, parts.port)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.faults = Faults()
        self.connections: set[_Connection] = set()

    def cut(self) -> None:
        """Break all connections off, now."""
        for connection in list(self.connections):
            connection.break_off()


class _Connection(socketserver.BaseRequestHandler):
    """One connection: this thread passes requests on, another one the replies."""

    server: Proxy

    def handle(self) -> None:
        self.mute = False
        self.ranged = False  # whether the latest request asked for a range
        with contextlib.suppress(OSError), self._connected() as upstream:
            self.upstream = upstream
            self.server.connections.add(self)
            replies = threading.Thread(target=self._replies, daemon=True)
            replies.start()
            try:
                self._requests()
            finally:
                replies.join()
                self.server.connections.discard(self)

    def _connected(self) -> socket.socket:
        try:
            return socket.create_connection(self.server.target)
        except ConnectionRefusedError:
            self.server.faults.wait()  # while all hangs, nobody finds out that nobody is there
            return socket.create_connection(self.server.target)

    def _requests(self) -> None:
        try:
            with self.request.makefile("rb") as reader:
                while self._pass_request(reader):
                    pass
            self.upstream.shutdown(socket.SHUT_WR)
        except (_Cut, OSError):
            self.break_off()

    def _pass_request(self, reader: BufferedReader) -> bool:
        """One request from the client to the server; False at the end of the connection."""
        head = _head(reader)
        if not head:
            return False
        line = head.split(b"\r\n", 1)[0].decode("latin-1").rpartition(" ")[0]
        self.server.faults.asked.append((line, _length(head)))
        wanted = _fields(head).get(b"range")
        self.ranged = wanted is not None
        if wanted:
            self.server.faults.ranges.append(wanted.strip().decode())
        if self.server.faults.counted("requests", "drop_reply"):
            self.mute = True
        self._send(head)
        untouched = True
        for is_content, piece in _body(reader, head):
            if is_content and untouched:
                untouched = False
                if self.server.faults.counted("bodies", "flip_body"):
                    piece = bytes([piece[0] ^ 1]) + piece[1:]  # noqa: PLW2901
            self._send(piece)
        return True

    def _send(self, data: bytes) -> None:
        while data:
            faults = self.server.faults
            faults.wait()
            admitted, cut = faults.admit(data)
            self.upstream.sendall(admitted)
            if cut:
                raise _Cut
            data = data[len(admitted) :]

    def _replies(self) -> None:
        with contextlib.suppress(OSError, _Cut):
            while data := self.upstream.recv(_PIECE):
                self.server.faults.answered(data, ranged=self.ranged)
                if not self.mute:
                    self.request.sendall(data)
                elif not data.startswith(b"HTTP/1.1 1"):  # the final reply: all was done
                    break
        self.break_off()

    def break_off(self) -> None:
        """End it on both sides."""
        for end in (self.upstream, self.request):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def _head(reader: BufferedReader) -> bytes:
    """A request's lines up to the empty one."""
    lines = [reader.readline()]
    while lines[-1] not in {b"\r\n", b""}:
        lines.append(reader.readline())
    return b"".join(lines)


def _body(reader: BufferedReader, head: bytes) -> Iterator[tuple[bool, bytes]]:
    """A request's body as it comes, in pieces of content or (False, …) framing."""
    if b"chunked" not in _fields(head).get(b"transfer-encoding", b""):
        yield from _content(reader, _length(head))
        return
    size = -1
    while size:
        line = reader.readline()
        size = int(line.split(b";")[0], 16)
        yield False, line
        yield from _content(reader, size)
        yield False, reader.readline()


def _fields(head: bytes) -> dict[bytes, bytes]:
    return dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:] if b":" in line)


def _length(head: bytes) -> int:
    return int(_fields(head).get(b"content-length", b"0"))


def _content(reader: BufferedReader, size: int) -> Iterator[tuple[bool, bytes]]:
    while size:
        piece = reader.read1(min(size, _PIECE))
        if not piece:
            raise _Cut  # the client broke off: so does the proxy
        size -= len(piece)
        yield True, piece


@contextmanager
def corrupting_proxy(target: str) -> Iterator[Proxy]:
    """A proxy to the server at the URL *target* for the length of a block."""
    with Proxy(target) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield proxy
        finally:
            proxy.faults.resume()
            proxy.shutdown()
            thread.join()
