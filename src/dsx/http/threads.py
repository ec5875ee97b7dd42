"""Blocking work beside the event loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def in_thread(call: Callable[..., T], *args: object) -> T:
    """Run *call* in a worker thread; return or raise only once it has ended.

    That holds even if the caller is cancelled meanwhile, unlike with ``asyncio.to_thread``: the
    buffers and descriptors *call* uses may be let go afterwards.
    """
    future = asyncio.get_running_loop().run_in_executor(None, call, *args)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        while not future.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([future])
        raise
