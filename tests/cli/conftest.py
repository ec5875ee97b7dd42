"""Fixtures of the tests of the command line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.commands import Commands
from tests.support.corrupting import Proxy, corrupting_proxy
from tests.support.hub import RunningHub


@pytest.fixture
def bare(tmp_path: Path) -> Commands:
    """Runs `dsx` in an empty directory, with no settings but those given."""
    return Commands(tmp_path, {})


@pytest.fixture
def dsx(hub: RunningHub, tmp_path: Path) -> Commands:
    """Runs `dsx` against the hub."""
    return Commands(tmp_path, {"SERVER_URL": hub.url, "DSX_API_KEY": hub.key})


@pytest.fixture
def proxy(hub: RunningHub) -> Iterator[Proxy]:
    with corrupting_proxy(hub.url) as running:
        yield running


@pytest.fixture
def through(dsx: Commands, proxy: Proxy) -> Commands:
    """The same, through the proxy."""
    return Commands(dsx.directory, dsx.variables | {"SERVER_URL": proxy.url})
