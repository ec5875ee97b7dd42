"""HTTP/1.1 on a bare socket: the client decides about every byte and when it is sent."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tests.support.hub import RunningHub

FILES = "/api/v1/files"
Fields = dict[str, str]


@dataclass
class Answer:
    """One response, as it came."""

    status: int
    headers: Fields
    body: bytes


class Wire:
    """One connection to a hub."""

    def __init__(self, hub: RunningHub, receive_buffer: int | None = None) -> None:
        self._hub = hub
        address = urlsplit(hub.url)
        self.socket = socket.socket()
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(20)
        self.socket.connect((address.hostname, address.port))
        self._reader = self.socket.makefile("rb")

    def head(self, method: str, path: str, *fields: str) -> bytes:
        """A request's head, authenticated, with *fields* as whole lines."""
        lines = [
            f"{method} {path} HTTP/1.1",
            "Host: hub",
            f"Authorization: Bearer {self._hub.key}",
            *fields,
        ]
        return "\r\n".join([*lines, "", ""]).encode()

    def upload(self, name: str, data: bytes, *fields: str) -> bytes:
        """A whole raw upload."""
        length = f"Content-Length: {len(data)}"
        return self.head("POST", f"{FILES}?name={name}", length, *fields) + data

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def answer(self, method: str = "GET") -> Answer:
        """The next response; of an interim one (1xx) there is only a head."""
        status = self._reader.readline()
        if not status:
            raise ConnectionResetError("closed before an answer")
        code = int(status.split()[1])
        headers: Fields = {}
        while (line := self._reader.readline().rstrip(b"\r\n")) != b"":
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        if method == "HEAD" or code < 200 or code in {204, 304}:
            return Answer(code, headers, b"")
        if headers.get("transfer-encoding") == "chunked":
            return Answer(code, headers, b"".join(self._chunks()))
        return Answer(code, headers, self._reader.read(int(headers["content-length"])))

    def ask(self, method: str, path: str, *fields: str) -> Answer:
        self.send(self.head(method, path, *fields))
        return self.answer(method)

    def ended(self) -> bool:
        """Whether the server closes without sending more; waits for it."""
        with contextlib.suppress(ConnectionResetError):
            return self._reader.read(1) == b""
        return True

    def close(self) -> None:
        self._reader.close()
        self.socket.close()

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self._reader.readline(), 16):
            yield self._reader.read(size)
            self._reader.readline()
        self._reader.readline()


@contextlib.contextmanager
def wire(hub: RunningHub, receive_buffer: int | None = None) -> Iterator[Wire]:
    """A connection for the length of a block."""
    connection = Wire(hub, receive_buffer)
    try:
        yield connection
    finally:
        connection.close()


def content(record: dict[str, str]) -> str:
    """Where the bytes of a stored file are."""
    return f"{FILES}/{record['id']}/content"


def listed(hub: RunningHub, name: str) -> list[dict[str, str]]:
    """The records of the files of that very name."""
    items: list[dict[str, str]] = hub.get(FILES, params={"name": name}).json()["items"]
    return items


def staged(hub: RunningHub) -> list[Path]:
    """Bytes on their way in."""
    return stages(hub.data_dir)


def stages(data_dir: Path) -> list[Path]:
    """The stages in a data directory, whose staging directory has an identity beside them."""
    return [path for path in (data_dir / "staging").iterdir() if not path.name.startswith(".")]


def open_descriptors(hub: RunningHub) -> int:
    """How many connections and blobs the server has open; its catalog's pool does not count."""
    found = 0
    for descriptor in Path(f"/proc/{hub.process.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            target = str(descriptor.readlink())
            found += target.startswith("socket:") or "/blobs/" in target
    return found


def status_value(hub: RunningHub, field: str) -> int:
    """A number from the server's /proc/PID/status: ``Threads``, or ``VmRSS`` in KiB."""
    lines = Path(f"/proc/{hub.process.pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(f"{field}:")).split()[1])


def healthy(hub: RunningHub) -> bool:
    """Whether the hub answers at once."""
    begun = time.monotonic()
    return hub.get("/health", timeout=5).status_code == 200 and time.monotonic() - begun < 1
