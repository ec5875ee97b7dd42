"""The SDK finds proxies in the environment, and looks for them once."""

from __future__ import annotations

import http.server
from collections.abc import Iterator
from threading import Thread

import pytest
import requests.sessions

from dsx import DatasetHubClient


class Proxy(http.server.BaseHTTPRequestHandler):
    """Answers like a hub, and notes what it was asked."""

    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        body = b'{"items": [], "next": null}'
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep silent."""


@pytest.fixture
def proxy() -> Iterator[str]:
    Proxy.asked = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as server:
        Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_proxy_is_used_and_looked_up_once(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []
    find = requests.sessions.get_environ_proxies

    def counted(url: str, no_proxy: str | None = None) -> dict[str, str]:
        looked.append(url)
        return dict(find(url, no_proxy=no_proxy))

    monkeypatch.setattr(requests.sessions, "get_environ_proxies", counted)
    monkeypatch.setenv("http_proxy", proxy)
    monkeypatch.delenv("no_proxy", raising=False)
    with DatasetHubClient("http://hub.invalid", "k") as client:
        assert client.list_datasets() == client.list_datasets() == []
    assert Proxy.asked == ["http://hub.invalid/api/v1/datasets"] * 2
    assert len(looked) == 1
