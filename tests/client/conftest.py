"""Fixtures of the SDK's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.faulty import FaultyServer, faulty_server

from dsx import DatasetHubClient


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
