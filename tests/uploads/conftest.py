"""Uploads begun in each of the protocols."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Iterator

import pytest
from tests.support.hub import RunningHub
from tests.uploads.speakers import SPEAKERS, Speaker, Tus
from tests.uploads.wires import hang_up

Begin = Callable[..., Speaker]


@pytest.fixture(params=SPEAKERS, ids=lambda kind: kind.__name__.lower())
def begin(request: pytest.FixtureRequest, hub: RunningHub) -> Begin:
    """Begins an upload of so many bytes, in each protocol in turn."""

    def begin(length: int, name: str | None = None) -> Speaker:
        speaker: Speaker = request.param(hub, name or f"{uuid.uuid4().hex}.bin", length)
        assert speaker.create().status_code == 201
        return speaker

    return begin


@pytest.fixture
def tus(hub: RunningHub) -> Begin:
    """Begins a tus upload."""

    def begin(length: int, name: str | None = None) -> Speaker:
        speaker = Tus(hub, name or f"{uuid.uuid4().hex}.bin", length)
        assert speaker.create().status_code == 201
        return speaker

    return begin


def noise(size: int, seed: int = 1) -> bytes:
    """Bytes that do not repeat."""
    return random.Random(seed).randbytes(size)


@pytest.fixture(autouse=True)
def _wires() -> Iterator[None]:
    yield
    hang_up()
