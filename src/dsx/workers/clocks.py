"""Whether the time of day can be believed, for those who drop what its time is over of."""

from __future__ import annotations

import time

import structlog

from dsx.core.model import Micros
from dsx.hub.clock import SECOND, now

log = structlog.get_logger(__name__)

_SLEW: Micros = 60 * SECOND
"""What a clock may be put right by between two rounds."""
_APART: Micros = 3600 * SECOND
"""How far this machine's clock and the database's may be apart."""


class Clocks:
    """Believes the time if it has gone on since the last look as a clock that cannot be set has.

    A clock that is wrong by a day (a battery, a bad time server, a machine that wakes up) is put
    right again within minutes, as a rule; what was dropped meanwhile would be gone for good.
    """

    def __init__(self) -> None:
        self._last: tuple[Micros, float] | None = None

    def agree(self, database: Micros | None = None) -> Micros | None:
        """What time it is, if that may be believed; never at the first look.

        What expires is to expire by this, for the clock may jump at any moment.
        *database*: what time it is for the catalog's machine.
        """
        instant, steady = now(), time.monotonic()
        last, self._last = self._last, (instant, steady)
        if last is None:
            return None
        jump = (instant - last[0]) - int((steady - last[1]) * SECOND)
        if abs(jump) > _SLEW:
            log.warning("the clock has jumped: nothing expires this time", seconds=jump / SECOND)
            return None
        if database is not None and abs(instant - database) > _APART:
            apart = (instant - database) / SECOND
            log.warning("the clock is not the database's: nothing expires", seconds=apart)
            return None
        return instant
