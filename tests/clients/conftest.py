"""Fixtures of the tests with third-party upload clients."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.support.corrupting import Proxy, corrupting_proxy
from tests.support.hub import RunningHub


@pytest.fixture
def endpoint(hub: RunningHub) -> str:
    """The URL that uploads are created at."""
    return f"{hub.url}/uploads"


@pytest.fixture
def proxy(hub: RunningHub) -> Iterator[Proxy]:
    """The hub behind a connection that can be made to fail."""
    with corrupting_proxy(hub.url) as running:
        yield running
