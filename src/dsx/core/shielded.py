"""Work that is not left half-done when whoever waits for it is cancelled."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def in_thread(call: Callable[..., T], *args: object) -> T:
    """Run *call* in a worker thread; return or raise only once it has ended.

    That holds even if the caller is cancelled meanwhile, unlike with ``asyncio.to_thread``: the
    buffers and descriptors *call* uses may be let go afterwards.
    """
    loop = asyncio.get_running_loop()
    return await whatever_happens(loop.run_in_executor(None, call, *args))


async def whatever_happens(work: Awaitable[T]) -> T:
    """Await *work* to its end, even if the caller is cancelled meanwhile; then that is raised."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # seen: the cancellation is what the caller is told
        raise
