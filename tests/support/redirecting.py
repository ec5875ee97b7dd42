"""A server that redirects whatever it is asked."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import requests


@dataclass
class Redirecting:
    """The server and what it was sent: method, path, Authorization, bytes of the body.

    Attributes:
        status: of the answers.
        target: what ``Location`` says; empty: there is none.
        append: the path of the request comes after the target.
        behind: what is asked below ``/hub`` is got from the server of this URL.
    """

    status: int
    target: str
    append: bool = True
    behind: str = ""
    url: str = ""
    seen: list[tuple[str, str, str | None, int]] = field(default_factory=list)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: Redirecting

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def do_PATCH(self) -> None:
        self._answer()

    def do_DELETE(self) -> None:
        self._answer()

    def _answer(self) -> None:
        state, shown = self.state, self.headers.get("Authorization")
        state.seen.append((self.command, self.path, shown, len(self._body())))
        if state.behind and self.path.startswith("/hub/"):
            self._pass_on(shown)
            return
        self.send_response(state.status)
        if state.target:
            self.send_header("Location", state.target + (self.path if state.append else ""))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _pass_on(self, shown: str | None) -> None:
        url = self.state.behind + self.path.removeprefix("/hub")
        got = requests.request(
            self.command, url, headers={"Authorization": shown or ""}, timeout=20
        )
        self.send_response(got.status_code)
        for name in ("Content-Type", "ETag", "Repr-Digest"):
            if name in got.headers:
                self.send_header(name, got.headers[name])
        self.send_header("Content-Length", str(len(got.content)))
        self.end_headers()
        self.wfile.write(got.content)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        found = b""
        while size := int(self.rfile.readline(), 16):
            found += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return found


@contextmanager
def redirecting(
    status: int, target: str, *, append: bool = True, behind: str = ""
) -> Iterator[Redirecting]:
    """A running server; see `Redirecting`."""
    state = Redirecting(status, target, append, behind)
    handler = type("Handler", (_Handler,), {"state": state})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
