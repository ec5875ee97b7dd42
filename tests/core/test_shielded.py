"""Who waits for a worker thread waits to its end."""

from __future__ import annotations

import asyncio
import threading

import pytest

from dsx.core.shield import ended, run_in_thread


def test_a_task_has_ended_though_who_ends_it_is_cancelled_again() -> None:
    """Its thread may still use what is let go afterwards."""
    begun, go_on, over = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        go_on.wait(30)
        over.set()

    async def main() -> None:
        working = asyncio.create_task(run_in_thread(work))
        await asyncio.to_thread(begun.wait)
        ending = asyncio.create_task(ended(working))
        for _ in range(3):
            await asyncio.sleep(0)
            ending.cancel()
        await asyncio.sleep(0)
        assert not ending.done()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await ending
        assert over.is_set()
        assert working.cancelled()

    asyncio.run(main())
