"""A body that nobody wants any more leaves nothing behind on the event loop."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from dsx.transport import body
from dsx.transport.body import BodyReceiver
from dsx.transport.patience import Patience


def test_a_detached_receiver_is_not_called_again() -> None:
    """Some bytes of it had come, too few to fill a buffer, and were about to be handed over."""
    failures: list[dict[str, Any]] = []

    async def work() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: failures.append(context))
        ours, theirs = socket.socketpair()
        transport, connection = await loop.create_connection(asyncio.Protocol, sock=ours)
        receiver = BodyReceiver(connection, transport, 1 << 20, Patience(60, 0))
        theirs.send(b"a few")
        while not receiver._filled:  # noqa: ASYNC110 (nothing tells of it)
            await asyncio.sleep(0.01)
        receiver.detach()
        await asyncio.sleep(3 * body.HAND_OVER_SECONDS)
        transport.close()
        theirs.close()

    asyncio.run(work())
    assert failures == []
