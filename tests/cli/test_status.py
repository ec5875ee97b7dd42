"""``dsx status`` and ``dsx --version``."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler

from tests.support.commands import Commands
from tests.support.hub import RunningHub
from tests.support.listening import listening, says

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


def test_another_version_is_shown(bare: Commands) -> None:
    ready = b'{"status":"ready","storage":"ok","free":1,"version":"9.9.9"}'

    def answer(request: BaseHTTPRequestHandler) -> None:
        status, body = (200, ready) if request.path == "/ready" else (401, b"{}")
        says(status, "application/json", body)(request)

    with listening(answer) as url:
        done = bare("status", "--server", url, "--api-key", "k")
    assert b"The server has version 9.9.9" in done.stderr


def test_the_version(bare: Commands) -> None:
    assert bare("--version").stdout.decode() == f"dsx {__version__}\n"
