"""Fixtures of the SDK's tests."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.corrupting import Proxy, corrupting_proxy
from tests.support.faulty import FaultyServer, faulty_server
from tests.support.hub import RunningHub

from dsx import DatasetHubClient
from dsx.client import parts, uploading


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with faulty_server() as running:
        yield running


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def client(server: FaultyServer, cache: Path) -> Iterator[DatasetHubClient]:
    with DatasetHubClient(server.url, "key", cache, retries=3) as opened:
        yield opened


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dsx.client.http._BACKOFF", 0.001)


@pytest.fixture(autouse=True)
def state(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this test's uploads are remembered: apart from those of whoever runs the tests."""
    base = tmp_path_factory.mktemp("state")
    monkeypatch.setenv("XDG_STATE_HOME", str(base))
    monkeypatch.setenv("XDG_CACHE_HOME", str(base / "cache"))
    return base / "dsx" / "uploads"


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> int:
    """Parts of 256 KiB from one MiB on, so that small files will do; the size of a part."""
    monkeypatch.setattr(uploading, "PARTS_FROM", 1 << 20)
    for module in (uploading, parts):
        monkeypatch.setattr(module, "PART", 1 << 18)
    return 1 << 18


@pytest.fixture
def real(hub: RunningHub) -> Iterator[DatasetHubClient]:
    with DatasetHubClient(hub.url, hub.key, None) as opened:
        yield opened


@pytest.fixture
def proxy(hub: RunningHub) -> Iterator[Proxy]:
    with corrupting_proxy(hub.url) as running:
        yield running


@pytest.fixture
def through(hub: RunningHub, proxy: Proxy) -> Iterator[DatasetHubClient]:
    """A client that reaches the hub through the proxy."""
    with DatasetHubClient(proxy.url, hub.key, None) as opened:
        yield opened


@pytest.fixture
def few(tmp_path: Path) -> Path:
    """A file for `small_parts`."""
    path = tmp_path / f"{uuid.uuid4().hex}.bin"
    path.write_bytes(os.urandom(3 << 20))
    return path
