"""A tus server that gets much wrong, to see that the suite notices."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

EXTENSIONS = "creation,creation-defer-length,checksum,termination,concatenation,expiration"


class Wrong(BaseHTTPRequestHandler):
    """Takes whatever comes, wherever it says it belongs, and believes every header."""

    protocol_version = "HTTP/1.1"
    sizes: dict[str, int]

    def do_OPTIONS(self) -> None:
        self._answer(204, {"Tus-Version": "1.0.0", "Tus-Extension": EXTENSIONS})

    def do_POST(self) -> None:
        path = f"/files/{len(self.sizes):08}"
        self.sizes[path] = 0
        self._read()
        self._answer(201, {"Location": path})

    def do_PATCH(self) -> None:
        self.sizes[self.path] = self.sizes.get(self.path, 0) + len(self._read())
        self._answer(200, {"Upload-Offset": str(self.sizes[self.path])})

    def do_HEAD(self) -> None:
        self._answer(200, {"Upload-Offset": str(self.sizes.get(self.path, 0))})

    def do_DELETE(self) -> None:
        self._answer(200, {})

    def _read(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _answer(self, status: int, fields: dict[str, str], body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in fields.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        with contextlib.suppress(BrokenPipeError):
            self.wfile.write(body)
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Keep quiet."""


class Ignorant(Wrong):
    """Gets the forms right, but ignores offsets, checksums and Tus-Resumable."""

    def do_POST(self) -> None:
        self.sizes[path := f"/files/{len(self.sizes):08}"] = 0
        self._read()
        self._answer(201, {"Location": path, "Tus-Resumable": "1.0.0"})

    def do_PATCH(self) -> None:
        self.sizes[self.path] += len(self._read())
        offset = str(self.sizes[self.path])
        self._answer(204, {"Upload-Offset": offset, "Tus-Resumable": "1.0.0"})

    def do_HEAD(self) -> None:
        fields = {"Cache-Control": "no-store", "Tus-Resumable": "1.0.0"}
        self._answer(200, {**fields, "Upload-Offset": str(self.sizes[self.path])})


@contextmanager
def served(kind: type[Wrong]) -> Iterator[str]:
    """The creation URL of such a server, for the length of a block."""
    handler = type("Handler", (kind,), {"sizes": {}, "uploads": {}})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/files"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
