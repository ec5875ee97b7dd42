"""HTTP/1.1 on a plain socket.

Ordinary clients refuse to send what a server has to survive: duplicate or malformed fields, bodies
that end halfway, trailers. Here every byte of a request is the caller's. Answers are read strictly,
and never followed anywhere.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from dsx.testing.tus.outcome import expect

TIMEOUT_SECONDS = 20.0
LINE_LIMIT = 65536

Pairs = Sequence[tuple[str, str]]
Fields = Mapping[str, str | None] | Mapping[str, str] | Sequence[tuple[str, str | None]] | Pairs


@dataclass(frozen=True)
class Response:
    """One final response, as received."""

    status: int
    fields: Pairs
    body: bytes = b""
    interim: tuple[int, ...] = ()

    def get(self, name: str) -> str | None:
        """Return a field's value, repeated ones joined as in RFC 9110; None if it is absent."""
        values = [value for key, value in self.fields if key.lower() == name.lower()]
        return ", ".join(values) if values else None

    def text(self, name: str) -> str:
        """Return the value of a required field."""
        value = self.get(name)
        if value is None:
            expect(False, f"{self.status} without {name}")
        return value or ""

    def number(self, name: str) -> int:
        """Return the value of a field that must be a non-negative integer."""
        value = self.text(name)
        expect(value.isascii() and value.isdigit(), f"{name}: {value!r} is not a number")
        return int(value)

    def items(self, name: str) -> list[str]:
        """Return the members of a comma-separated field; empty if it is absent."""
        return [item.strip() for item in (self.get(name) or "").split(",") if item.strip()]

    def lacks(self, name: str) -> Self:
        """Fail unless the field *name* is absent."""
        expect(self.get(name) is None, f"{self.status} with {name}: {self.get(name)}")
        return self

    def must_be(self, *statuses: int, about: str = "") -> Self:
        """Fail unless the status is one of *statuses*."""
        wanted = " or ".join(map(str, statuses))
        expect(
            self.status in statuses, f"{about}{': ' if about else ''}{self.status}, not {wanted}"
        )
        return self

    def must_refuse(self, about: str = "") -> Self:
        """Fail unless the status is 4xx."""
        refused = HTTPStatus.BAD_REQUEST <= self.status < HTTPStatus.INTERNAL_SERVER_ERROR
        expect(refused, f"{_lead(about)}{self.status}, not a 4xx")
        return self


def _lead(about: str) -> str:
    return f"{about}: " if about else ""


def head_of(method: str, url: str, fields: Pairs) -> bytes:
    """Return the bytes of a request's head; only the request line and Host are added."""
    address = urlsplit(url)
    target = (address.path or "/") + (f"?{address.query}" if address.query else "")
    lines = [f"{method} {target} HTTP/1.1", f"Host: {address.netloc.rpartition('@')[2]}"]
    lines += [f"{name}: {value}" for name, value in fields]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def chunked(*pieces: bytes, trailers: Pairs = ()) -> bytes:
    """A body in chunks, with *trailers* after the last one."""
    body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces if piece)
    tail = "".join(f"{name}: {value}\r\n" for name, value in trailers)
    return body + b"0\r\n" + tail.encode("latin-1") + b"\r\n"


class Connection:
    """One connection to the server of a URL."""

    def __init__(self, url: str, timeout: float = TIMEOUT_SECONDS) -> None:
        address = urlsplit(url)
        port = address.port or (443 if address.scheme == "https" else 80)
        self.socket = socket.create_connection((address.hostname or "", port), timeout)
        if address.scheme == "https":
            context = ssl.create_default_context()
            self.socket = context.wrap_socket(self.socket, server_hostname=address.hostname)
        self._reader = self.socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._reader.close()
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send *data*; the server may respond and close the connection before reading it all."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.socket.sendall(data)

    def end(self) -> None:
        """Shut down the sending side, as happens when a client is killed."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)

    def head(self) -> Response:
        """Read the next head, interim (1xx) or final."""
        line = self._reader.readline(LINE_LIMIT).decode("latin-1")
        if not line:
            raise ConnectionResetError("the server hung up without an answer")
        version, _, rest = line.strip().partition(" ")
        status = rest[:3]
        if not version.startswith("HTTP/1.") or not status.isdigit():
            raise http.client.BadStatusLine(line)
        return Response(int(status), http.client.parse_headers(self._reader).items())

    def response(self, method: str) -> Response:
        """Read the next final response; *method* determines whether it has a body."""
        interim: list[int] = []
        head = self.head()
        while head.status < HTTPStatus.OK:
            interim.append(head.status)
            head = self.head()
        bodyless = method == "HEAD" or head.status in (
            HTTPStatus.NO_CONTENT,
            HTTPStatus.NOT_MODIFIED,
        )
        body = b"" if bodyless else self._body(head)
        return Response(head.status, head.fields, body, tuple(interim))

    def _body(self, head: Response) -> bytes:
        if (head.get("Transfer-Encoding") or "").lower() == "chunked":
            return b"".join(iter(self._chunk, b""))
        length = head.get("Content-Length")
        return self._exactly(int(length)) if length is not None else self._reader.read()

    def _chunk(self) -> bytes:
        size = int(self._reader.readline(LINE_LIMIT).split(b";")[0], 16)
        data = self._exactly(size)
        if size:
            self._reader.readline(LINE_LIMIT)
        else:
            http.client.parse_headers(self._reader)
        return data

    def _exactly(self, size: int) -> bytes:
        data = self._reader.read(size)
        if len(data) != size:
            raise http.client.IncompleteRead(data, size - len(data))
        return data
