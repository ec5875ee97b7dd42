"""Waiting for what is about to happen in another thread or process."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def in_time(look: Callable[[], T], seconds: float = 10.0) -> T:
    """What *look* returns as soon as that is true, or else when the time is over."""
    deadline = time.monotonic() + seconds
    while not (found := look()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return found


def eventually(look: Callable[[], T], seconds: float = 20.0) -> T:
    """What *look* returns as soon as that is true; fails if it never is."""
    found = in_time(look, seconds)
    assert found, "it never happened"
    return found
