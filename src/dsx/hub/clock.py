"""What time it is. Durations are measured elsewhere, with clocks that cannot be set."""

from __future__ import annotations

import time

from dsx.core.model import Micros

SECOND: Micros = 1_000_000


def now() -> Micros:
    """This instant."""
    return time.time_ns() // 1000
