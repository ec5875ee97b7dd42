"""Bounds how long a sender may take: silence uses up a time budget, bytes restore it."""

from __future__ import annotations

import socket
import time
from collections.abc import Awaitable, Callable

from dsx.core.errors import TimedOut

_TCP = {socket.AF_INET, socket.AF_INET6}
_AT_ONCE = 0.001


class Patience:
    """The seconds for which a sender may still be silent.

    Each byte restores the time it takes at the lowest rate. So neither a silent sender nor one that
    trickles keeps a connection for long, while one that is slow but steady is never cut off. Time
    in which the server does not read is not counted.
    """

    def __init__(self, seconds: float, rate: float) -> None:
        """Start at *seconds*; *rate*: lowest bytes per second, 0: any byte restores all."""
        self._most = seconds
        self._rate = rate
        self.left = seconds

    def spend(self, seconds: float) -> None:
        """Count *seconds* of waiting."""
        self.left -= seconds

    def earn(self, count: int) -> None:
        """Count *count* received bytes."""
        if count:
            self.left = self._most if not self._rate else self.left + count / self._rate
            self.left = min(self.left, self._most)

    async def excuse(self, gate: Callable[[], Awaitable[None]]) -> None:
        """Raise `TimedOut` for a sender without patience left, unless its transfer is paused.

        A paused transfer's *gate* is closed: wait until it opens, and restore all patience.
        """
        begun = time.monotonic()
        await gate()
        if time.monotonic() - begun < _AT_ONCE:
            raise self._failure()
        self.left = self._most

    def _failure(self) -> TimedOut:
        slow = f", or fewer than {self._rate:g} per second" if self._rate else ""
        return TimedOut(f"The request body stalled: no bytes for {self._most:g} seconds{slow}.")


def bound_stalls(connection: socket.socket, seconds: float) -> None:
    """Let the kernel abort *connection* when the client accepts no byte for *seconds*."""
    if connection.family in _TCP and hasattr(socket, "TCP_USER_TIMEOUT"):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(seconds * 1000))
