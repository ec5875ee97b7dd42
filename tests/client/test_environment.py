"""The SDK finds proxies in the environment, and looks for them once."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler

import pytest
import requests.sessions
from tests.support.listening import listening, says

from dsx import DatasetHubClient


def test_a_proxy_is_used_and_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []
    asked: list[str] = []

    def answer(request: BaseHTTPRequestHandler) -> None:
        asked.append(request.path)
        says(200, "application/json", b'{"items": [], "next": null}')(request)

    find = requests.sessions.get_environ_proxies

    def counted(url: str, no_proxy: str | None = None) -> dict[str, str]:
        looked.append(url)
        return dict(find(url, no_proxy=no_proxy))

    monkeypatch.setattr(requests.sessions, "get_environ_proxies", counted)
    monkeypatch.delenv("no_proxy", raising=False)
    with listening(answer) as proxy, DatasetHubClient("http://hub.invalid", "k") as client:
        monkeypatch.setenv("http_proxy", proxy)
        assert client.list_datasets() == client.list_datasets() == []
    assert asked == ["http://hub.invalid/api/v1/datasets"] * 2
    assert len(looked) == 1
