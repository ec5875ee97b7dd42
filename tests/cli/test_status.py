"""``dsx status`` and ``dsx --version``."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from tests.support.commands import Commands
from tests.support.hub import RunningHub

from dsx import __version__


def test_status_shows_the_server_and_who_asks(dsx: Commands, hub: RunningHub) -> None:
    lines = dsx("status").stdout.decode().splitlines()
    assert [line.split()[0] for line in lines] == ["server", "version", "free", "you", "your"]
    assert hub.url in lines[0]
    found = json.loads(dsx("--json", "status").stdout)
    assert found["server"] == hub.url
    assert found["version"] == found["client_version"] == __version__
    assert found["free"] > 0
    assert found["username"]


def test_status_without_a_credential(bare: Commands, hub: RunningHub) -> None:
    told = bare("status", "--server", hub.url).stdout.decode()
    assert "not signed in: see `dsx login`" in told


class Newer(BaseHTTPRequestHandler):
    """A hub of another version, which knows nobody."""

    def do_GET(self) -> None:
        known = self.path == "/ready"
        body = b'{"status":"ready","storage":"ok","free":1,"version":"9.9.9"}' if known else b"{}"
        self.send_response(200 if known else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep silent."""


def test_another_version_is_shown(bare: Commands) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Newer) as server:
        Thread(target=server.serve_forever).start()
        url = f"http://127.0.0.1:{server.server_port}"
        done = bare("status", "--server", url, "--api-key", "k")
        server.shutdown()
    assert b"The server has version 9.9.9" in done.stderr


def test_the_version(bare: Commands) -> None:
    assert bare("--version").stdout.decode() == f"dsx {__version__}\n"
