"""Checks that a client is still waiting: long work ends with its client."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

Present = Callable[[], Awaitable[None]]
"""Raises if no client is waiting any more. Called between steps of long work."""


async def always_present() -> None:
    """Never raise: for callers in this process."""
