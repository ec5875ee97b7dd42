"""Reads the rest of a request's body off the socket, past the HTTP parser, into a few buffers."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable

from starlette.requests import ClientDisconnect

from dsx.core.digest import Buffer as Bytes
from dsx.core.shield import run_in_thread
from dsx.transport.buffers import Buffer, BufferPool
from dsx.transport.patience import Patience

BUFFERS = 3
"""How many one body may use at a time."""
POOL = BufferPool()
HAND_OVER_SECONDS = 0.25
"""How long a buffer waits to be full: a slow sender's bytes are to be recorded, too."""
Gate = Callable[[], Awaitable[None]]


class Turns:
    """Spreads what many connections want at the same moment, for each has a price.

    A thousand slow senders whose bytes come together are then served one after another, and
    whoever else asks is served between any two of them.
    """

    def __init__(self, apart: float, at_most: float) -> None:
        """Two turns are *apart* seconds, unless that would put one off by more than *at_most*."""
        self._apart = apart
        self._at_most = at_most
        self._last = 0.0

    def turn(self, wanted: float) -> float:
        """When to do what is wanted at *wanted*, by the loop's clock: then or a little later."""
        self._last = min(max(wanted, self._last + self._apart), wanted + self._at_most)
        return self._last


SLOW = Turns(0.002, 5.0)
"""For bytes that came too slowly to fill a buffer."""


async def always_open() -> None:
    """The gate of a transfer that nobody pauses."""


class BodyReceiver(asyncio.BufferedProtocol):
    """Stands in for an HTTP connection's protocol while a body of known length arrives.

    The event loop receives into one buffer while a worker thread writes others; if writing is
    slower, reading pauses and TCP holds the sender back. Never reads beyond the body. There is no
    buffer before bytes come, and a large one only once they have filled a small one.
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
        self._quick = False  # bytes come in such numbers that a large buffer is of use
        self._full: deque[tuple[Buffer, int]] = deque()
        self._used = 0  # buffers that are full or being written
        self._wake = asyncio.Event()
        self._lost = False
        self._loop = asyncio.get_running_loop()
        self._since: float | None = None  # when waiting for bytes was last counted
        self._getting_old: asyncio.TimerHandle | None = None
        transport.set_protocol(self)

    async def run(self, write: Callable[[Bytes], object], gate: Gate) -> None:
        """Pass all bytes to *write* in a worker thread, which is held only while there are some.

        Raises what *write* raises, `ClientDisconnect`, or `TimedOut` once patience is used up.
        """
        while self._left or self._full:
            if not self._full:
                await self._arrival(gate)
            await gate()  # only now: what came during a pause is not written before its end
            await run_in_thread(self._write_full, write)

    def _write_full(self, write: Callable[[Bytes], object]) -> None:
        """In the worker thread: write the buffers that are full; then the gate is asked again."""
        for _ in range(len(self._full)):
            buffer, size = self._full.popleft()
            try:
                with buffer.view[:size] as data:
                    write(data)
            finally:
                self._loop.call_soon_threadsafe(self._recycle, buffer)

    def _recycle(self, buffer: Buffer) -> None:
        """A buffer has been written: there is room again."""
        buffer.release()
        self._used -= 1
        if self._used == BUFFERS - 1 and self._left and not self._lost:
            self._transport.resume_reading()

    def detach(self) -> None:
        """Give the connection back to its HTTP protocol, and the buffers to the pool."""
        if not self._lost:
            self._transport.set_protocol(self._connection)
            self._transport.resume_reading()
        for buffer, _ in self._full:
            buffer.release()
        self._full.clear()
        if self._filling is not None:
            self._filling.release()
            self._filling = None

    def get_buffer(self, sizehint: int) -> memoryview:
        """Room for the next bytes, never more than the body has left."""
        _ = sizehint
        if self._filling is None:
            self._filling = POOL.buffer(large=self._quick)
        return self._filling.view[self._filled : self._filled + self._left]

    def buffer_updated(self, nbytes: int) -> None:
        """Note *nbytes* more; a full buffer goes to the writer; without another, reading stops."""
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
        """Let the writer have what has come; tell it and the HTTP protocol."""
        self._lost = True
        if self._filled:
            self._hand_over()
        self._wake.set()
        self._connection.connection_lost(exc)

    def _grow_old(self) -> None:
        """Too few bytes came to fill the buffer: they are to be recorded, all the same."""
        self._quick = False
        self._getting_old = self._loop.call_at(SLOW.turn(self._loop.time()), self._hand_over)

    def _hand_over(self) -> None:
        if self._getting_old is not None:
            self._getting_old.cancel()
            self._getting_old = None
        assert self._filling is not None
        self._full.append((self._filling, self._filled))
        self._filling = None
        self._filled = 0
        self._used += 1
        self._wake.set()
        if not self._lost and not (self._used < BUFFERS and self._left):
            self._transport.pause_reading()

    async def _arrival(self, gate: Gate) -> None:
        """Wait for a buffer that is full or old enough; raise if none can come any more."""
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
        """Pass on: the HTTP protocol does the writing."""
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        """Pass on."""
        self._connection.resume_writing()
