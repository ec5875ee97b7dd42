"""Runs work to completion even if its caller is cancelled."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")


async def run_in_thread(call: Callable[..., T], *args: object) -> T:
    """Run *call* in a worker thread; return or raise only once it has ended.

    Even if the caller is cancelled meanwhile, unlike with ``asyncio.to_thread``: the buffers and
    descriptors that *call* uses can be released afterwards.
    """
    loop = asyncio.get_running_loop()
    context = contextvars.copy_context()
    return await run_to_completion(loop.run_in_executor(None, partial(context.run, call, *args)))


async def ended(task: asyncio.Future[Any]) -> None:
    """Cancel *task*, and return only once it has ended: see `run_to_completion`."""
    task.cancel()
    await run_to_completion(asyncio.wait([task]))


async def run_to_completion(work: Awaitable[T], undo: Callable[[T], object] | None = None) -> T:
    """Await *work* to its end; a cancellation of the caller is raised afterwards.

    *undo* gets the result in that case.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([task])
        if not task.cancelled() and task.exception() is None and undo is not None:
            undo(task.result())  # retrieves a failure: the caller gets the cancellation
        raise
