"""Checks whether the time of day is credible before anything expires by it."""

from __future__ import annotations

import time

import structlog

from dsx.core.model import Micros
from dsx.hub.clock import SECOND, now

log = structlog.get_logger(__name__)

_SLEW: Micros = 60 * SECOND
"""Largest correction of the clock tolerated between two rounds."""
_APART: Micros = 3600 * SECOND
"""Largest tolerated difference between this machine's clock and the database's."""


class Clocks:
    """Accepts the time if it has advanced since the last call as the monotonic clock has.

    A clock that is wrong by a day (a battery, a bad time server, a machine that wakes up) is
    usually corrected within minutes, but whatever expired meanwhile would be lost.
    """

    def __init__(self) -> None:
        self._last: tuple[Micros, float] | None = None

    def agree(self, database: Micros | None = None) -> Micros | None:
        """Return the time if it is credible, else None; always None at the first call.

        Expire by the returned time only, as the clock may jump at any moment. *database*: the time
        on the catalog's machine.
        """
        instant, steady = now(), time.monotonic()
        last, self._last = self._last, (instant, steady)
        if last is None:
            return None
        jump = (instant - last[0]) - int((steady - last[1]) * SECOND)
        if abs(jump) > _SLEW:
            log.warning(
                "the clock has jumped: nothing expires in this round", seconds=jump / SECOND
            )
            return None
        if database is not None and abs(instant - database) > _APART:
            apart = (instant - database) / SECOND
            log.warning("the clock differs from the database's: nothing expires", seconds=apart)
            return None
        return instant
