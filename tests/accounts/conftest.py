"""Two members of the hub of a module, for modules that want no others."""

from __future__ import annotations

import pytest
from tests.support.hub import RunningHub


@pytest.fixture(scope="module")
def alice(hub: RunningHub) -> RunningHub:
    return hub.user("alice")


@pytest.fixture(scope="module")
def bob(hub: RunningHub) -> RunningHub:
    return hub.user("bob")
