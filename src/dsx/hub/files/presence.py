"""Whether somebody still waits for what is being done: long work ends with its client."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

Present = Callable[[], Awaitable[None]]
"""Raises if nobody waits any more. It is asked between two steps of long work."""


async def always_present() -> None:
    """For who waits in this process."""
