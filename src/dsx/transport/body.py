"""Reads the rest of a request's body from the socket, bypassing the parser, into few buffers."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Iterable

from starlette.requests import ClientDisconnect

from dsx.core.digest import Buffer as Bytes
from dsx.core.shield import run_in_thread
from dsx.transport.buffers import Buffer, BufferPool
from dsx.transport.patience import Patience

BUFFERS = 3
"""Maximum buffers per body at a time."""
POOL = BufferPool()
HAND_OVER_SECONDS = 0.25
"""Seconds before a partly filled buffer is written: a slow sender's bytes are recorded, too."""
Gate = Callable[[], Awaitable[None]]


class Turns:
    """Spreads work that many connections want done at the same moment.

    A thousand slow senders whose bytes arrive together are served one after another, with other
    requests served in between.
    """

    def __init__(self, apart: float, at_most: float) -> None:
        """Space turns *apart* seconds, but delay none by more than *at_most* seconds."""
        self._apart = apart
        self._at_most = at_most
        self._last = 0.0

    def turn(self, wanted: float) -> float:
        """Return the time, at or after *wanted*, for the next turn, by the loop's clock."""
        self._last = min(max(wanted, self._last + self._apart), wanted + self._at_most)
        return self._last


SLOW = Turns(0.002, 5.0)
"""Turns for bytes that arrived too slowly to fill a buffer."""


async def always_open() -> None:
    """The gate of a transfer that cannot be paused."""


class BodyReceiver(asyncio.BufferedProtocol):
    """Replaces an HTTP connection's protocol while a body of known length arrives.

    The event loop receives into one buffer while a worker thread writes others; if writing is
    slower, reading pauses and TCP holds the sender back. Never reads beyond the body. A buffer is
    allocated only when bytes arrive, and a large one only once they have filled a small one.
    """

    def __init__(
        self,
        connection: asyncio.Protocol,
        transport: asyncio.Transport,
        left: int,
        patience: Patience,
    ) -> None:
        """Take *left* bytes from *transport*, whose protocol is *connection*."""
        self._connection = connection
        self._transport = transport
        self._left = left
        self._patience = patience
        self._filling: Buffer | None = None
        self._filled = 0  # bytes in it
        self._quick = False  # bytes arrive fast enough for a large buffer
        self._full: deque[tuple[Buffer, int]] = deque()
        self._used = 0  # buffers that are full or being written
        self._wake = asyncio.Event()
        self._lost = False
        self._loop = asyncio.get_running_loop()
        self._since: float | None = None  # when waiting for bytes was last counted
        self._getting_old: asyncio.TimerHandle | None = None
        transport.set_protocol(self)

    async def run(self, write: Callable[[Bytes], object], gate: Gate) -> None:
        """Pass all bytes to *write* in a worker thread, which is occupied only while writing.

        Raises what *write* raises, `ClientDisconnect`, or `TimedOut` once patience is used up.
        """
        while self._left or self._full:
            if not self._full:
                await self._arrival(gate)
            await gate()  # only now: bytes received during a pause are written after it
            await run_in_thread(self._write_full, write)

    def _write_full(self, write: Callable[[Bytes], object]) -> None:
        """Write the full buffers (in the worker thread), until the gate is checked again."""
        for _ in range(len(self._full)):
            buffer, size = self._full.popleft()
            try:
                with buffer.view[:size] as data:
                    write(data)
            finally:
                self._loop.call_soon_threadsafe(self._recycle, buffer)

    def _recycle(self, buffer: Buffer) -> None:
        """Release a written buffer and resume reading."""
        buffer.release()
        self._used -= 1
        if self._used == BUFFERS - 1 and self._left and not self._lost:
            self._transport.resume_reading()

    def detach(self) -> None:
        """Return the connection to its HTTP protocol, and the buffers to the pool."""
        if not self._lost:
            self._transport.set_protocol(self._connection)
            self._transport.resume_reading()
        self._stay_young()
        for buffer, _ in self._full:
            buffer.release()
        self._full.clear()
        if self._filling is not None:
            self._filling.release()
            self._filling = None

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return space for the next bytes, never more than the body's rest."""
        _ = sizehint
        if self._filling is None:
            self._filling = POOL.buffer(large=self._quick)
        return self._filling.view[self._filled : self._filled + self._left]

    def buffer_updated(self, nbytes: int) -> None:
        """Count *nbytes*; pass on a full buffer, and pause reading if no other is left."""
        assert self._filling is not None
        if not self._filled:
            self._getting_old = self._loop.call_later(HAND_OVER_SECONDS, self._grow_old)
        self._filled += nbytes
        self._left -= nbytes
        self._count_waiting()
        self._patience.earn(nbytes)
        if self._filled == len(self._filling.view) or not self._left:
            self._quick = True
            self._hand_over()

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass on the bytes received, and notify the writer and the HTTP protocol."""
        self._lost = True
        if self._filled:
            self._hand_over()
        self._wake.set()
        self._connection.connection_lost(exc)

    def _grow_old(self) -> None:
        """Schedule the hand-over of a buffer that did not fill in time."""
        self._quick = False
        self._getting_old = self._loop.call_at(SLOW.turn(self._loop.time()), self._hand_over)

    def _stay_young(self) -> None:
        if self._getting_old is not None:
            self._getting_old.cancel()
            self._getting_old = None

    def _hand_over(self) -> None:
        self._stay_young()
        assert self._filling is not None
        self._full.append((self._filling, self._filled))
        self._filling = None
        self._filled = 0
        self._used += 1
        self._wake.set()
        if not self._lost and not (self._used < BUFFERS and self._left):
            self._transport.pause_reading()

    async def _arrival(self, gate: Gate) -> None:
        """Wait for a buffer that is full or old enough; raise if none can arrive."""
        while not (self._full or self._lost):
            self._wake.clear()
            self._since = self._loop.time()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0, self._patience.left)):
                    await self._wake.wait()
            self._count_waiting()
            self._since = None
            if self._patience.left <= 0 and not (self._full or self._lost):
                await self._patience.excuse(gate)
        if not self._full:
            raise ClientDisconnect

    def _count_waiting(self) -> None:
        if self._since is not None:
            now = self._loop.time()
            self._patience.spend(now - self._since)
            self._since = now

    def pause_writing(self) -> None:
        """Pass on to the HTTP protocol, which does the writing."""
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        """Pass on to the HTTP protocol."""
        self._connection.resume_writing()


def content_length(headers: Iterable[tuple[bytes, bytes]]) -> int | None:
    """Return the length of the body in bytes, or None if *headers* do not give it."""
    for name, value in headers:
        if name == b"content-length":
            return int(value)
    return None
