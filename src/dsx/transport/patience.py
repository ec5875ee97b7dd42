"""How long a sender may take: silence uses patience up, bytes win it back."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from dsx.core.errors import TimedOut

_AT_ONCE = 0.001


class Patience:
    """Seconds for which a sender may still be silent.

    Each byte gives back the time in which it should come at the lowest rate, so that neither a
    silent sender nor one of a byte now and then keeps a connection for long, while one that is slow
    but steady is never cut off. Time in which the server does not read counts for nobody.
    """

    def __init__(self, seconds: float, rate: float) -> None:
        """At most *seconds*; *rate* is the lowest in bytes a second, 0: any byte gives back all."""
        self._most = seconds
        self._rate = rate
        self.left = seconds

    def spend(self, seconds: float) -> None:
        """Count *seconds* of waiting."""
        self.left -= seconds

    def earn(self, count: int) -> None:
        """Count *count* bytes that have come."""
        if count:
            self.left = self._most if not self._rate else self.left + count / self._rate
            self.left = min(self.left, self._most)

    async def excuse(self, gate: Callable[[], Awaitable[None]]) -> None:
        """Raise `TimedOut` for a sender that has used it up, unless its transfer is paused.

        *gate* is closed then: wait until it opens, and begin anew.
        """
        begun = time.monotonic()
        await gate()
        if time.monotonic() - begun < _AT_ONCE:
            raise self._failure()
        self.left = self._most

    def _failure(self) -> TimedOut:
        slow = f", or fewer than {self._rate:g} a second" if self._rate else ""
        return TimedOut(
            f"Bytes came too slowly in the middle of the request: none for {self._most:g} seconds"
            f"{slow}."
        )
