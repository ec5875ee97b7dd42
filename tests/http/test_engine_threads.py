from __future__ import annotations

import asyncio
import time

import pytest

from dsx.core.shield import run_in_thread


def test_a_cancelled_caller_waits_for_the_thread() -> None:
    ended = []

    def work() -> None:
        time.sleep(0.2)
        ended.append(True)

    async def scenario() -> None:
        task = asyncio.create_task(run_in_thread(work))
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended

    asyncio.run(scenario())


def test_results_and_failures_come_through() -> None:
    async def scenario() -> None:
        assert await run_in_thread(divmod, 7, 2) == (3, 1)
        with pytest.raises(ZeroDivisionError):
            await run_in_thread(divmod, 7, 0)

    asyncio.run(scenario())
