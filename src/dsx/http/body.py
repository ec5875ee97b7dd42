"""Reads the rest of a request's body off the socket, past the HTTP parser, into a few buffers."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from starlette.requests import ClientDisconnect

from dsx.core.digest import Buffer
from dsx.core.errors import TimedOut
from dsx.core.shielded import in_thread

BUFFER = 1024 * 1024
BUFFERS = 3
HAND_OVER_SECONDS = 0.25
"""How long a buffer waits to be full: a slow sender's bytes are to be recorded, too."""
Gate = Callable[[], Awaitable[None]]


async def always_open() -> None:
    """The gate of a transfer that nobody pauses."""


class BodyReceiver(asyncio.BufferedProtocol):
    """Stands in for an HTTP connection's protocol while a body of known length arrives.

    The event loop receives into one buffer while a worker thread writes others; if writing is
    slower, reading pauses and TCP holds the sender back. Never reads beyond the body.
    """

    def __init__(
        self, connection: asyncio.Protocol, transport: asyncio.Transport, left: int, stall: float
    ) -> None:
        """Take *left* bytes from *transport*, whose protocol is *connection*; *stall*: seconds."""
        self._connection = connection
        self._transport = transport
        self._left = left
        self._stall = stall
        size = min(BUFFER, left)
        self._free = deque(memoryview(bytearray(size)) for _ in range(BUFFERS))
        self._filled = 0  # bytes in self._free[0], which is the one being filled
        self._full: deque[tuple[memoryview, int]] = deque()
        self._wake = asyncio.Event()
        self._lost = False
        self._loop = asyncio.get_running_loop()
        self._heard = self._loop.time()
        transport.set_protocol(self)

    async def run(self, write: Callable[[Buffer], object], gate: Gate) -> None:
        """Pass all bytes to *write* in a worker thread, which is held only while there are some.

        Raises what *write* raises, `ClientDisconnect`, or `TimedOut` after *stall* silent seconds.
        """
        while self._left or self._full:
            if not self._full:
                await self._arrival()
            await gate()  # only now: what came during a pause is not written before its end
            await in_thread(self._write_full, write)

    def _write_full(self, write: Callable[[Buffer], object]) -> None:
        """In the worker thread: write the buffers that are full; then the gate is asked again."""
        for _ in range(len(self._full)):
            buffer, size = self._full.popleft()
            write(buffer[:size])
            self._loop.call_soon_threadsafe(self._recycle, buffer)

    def _recycle(self, buffer: memoryview) -> None:
        """A buffer has been written: there is room again."""
        self._free.append(buffer)
        if len(self._free) == 1 and self._left and not self._lost:
            self._transport.resume_reading()

    def detach(self) -> None:
        """Give the connection back to its HTTP protocol."""
        if not self._lost:
            self._transport.set_protocol(self._connection)
            self._transport.resume_reading()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Room for the next bytes, never more than the body has left."""
        _ = sizehint
        return self._free[0][self._filled : self._filled + self._left]

    def buffer_updated(self, nbytes: int) -> None:
        """Note *nbytes* more; a full buffer goes to the writer; without another, reading stops."""
        self._filled += nbytes
        self._left -= nbytes
        self._heard = self._loop.time()
        if self._filled == len(self._free[0]) or not self._left:
            self._hand_over()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let the writer have what has come; tell it and the HTTP protocol."""
        self._lost = True
        if self._filled:
            self._hand_over()
        self._wake.set()
        self._connection.connection_lost(exc)

    def _hand_over(self) -> None:
        self._full.append((self._free.popleft(), self._filled))
        self._filled = 0
        self._wake.set()
        if not self._lost and not (self._free and self._left):
            self._transport.pause_reading()

    async def _arrival(self) -> None:
        """Wait for a buffer's worth of bytes, but not for long: what has come must not get old."""
        self._heard = self._loop.time()
        while not (self._full or self._lost):
            self._wake.clear()
            try:
                async with asyncio.timeout(min(HAND_OVER_SECONDS, self._stall)):
                    await self._wake.wait()
            except TimeoutError:
                if self._filled:
                    self._hand_over()
                elif self._loop.time() - self._heard >= self._stall:
                    raise stalled(self._stall) from None
        if not self._full:
            raise ClientDisconnect

    def pause_writing(self) -> None:
        """Pass on: the HTTP protocol does the writing."""
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        """Pass on."""
        self._connection.resume_writing()


def stalled(seconds: float) -> TimedOut:
    """The failure of a sender that was silent for *seconds*."""
    return TimedOut(f"No byte came for {seconds:g} seconds in the middle of the request.")
