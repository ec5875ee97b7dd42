"""What a clock that is wrong does."""

from __future__ import annotations

import time

import pytest

from dsx.core.errors import Unavailable
from dsx.hub import clock


def test_a20_a_clock_before_1970_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A20: 503 with a sentence, for whatever asks what time it is."""
    monkeypatch.setattr(time, "time_ns", lambda: -3_600_000_000_000)
    with pytest.raises(Unavailable, match="clock"):
        clock.now()
