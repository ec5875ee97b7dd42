"""Handles clients that send more than wanted: flow control, and lingering close."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from uvicorn.protocols.http.flow_control import FlowControl

LINGER_SECONDS = 30.0
LINGER_SILENCE = 2.0
LINGER_BYTES = 64 * 1024 * 1024


class ReadControl(FlowControl):
    """Pauses reading while bytes already read wait for their turn."""

    def __init__(self, transport: asyncio.Transport, held_back: Callable[[], bool]) -> None:
        """Control *transport*; *held_back* returns whether bytes are waiting."""
        super().__init__(transport)
        self._held_back = held_back

    def resume_reading(self) -> None:
        """Resume reading, unless bytes are waiting."""
        if not self._held_back():
            super().resume_reading()


class LingeringClose(asyncio.Protocol):
    """Discards what a client sends until it has read the response, within bounds."""

    def __init__(self, connection: asyncio.Protocol, transport: asyncio.Transport) -> None:
        """Take over *transport* from *connection*, which is notified of its end."""
        self._connection = connection
        self._transport = transport
        self._left = LINGER_BYTES
        self._loop = asyncio.get_running_loop()
        self._end = self._loop.time() + LINGER_SECONDS
        self._timer = self._loop.call_later(LINGER_SILENCE, transport.abort)

    def data_received(self, data: bytes) -> None:
        """Discard *data*, and abort beyond the bounds."""
        self._left -= len(data)
        if self._left < 0:
            self._transport.abort()
            return
        self._timer.cancel()
        silence = min(self._loop.time() + LINGER_SILENCE, self._end)
        self._timer = self._loop.call_at(silence, self._transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """Notify the connection."""
        self._timer.cancel()
        self._connection.connection_lost(exc)
