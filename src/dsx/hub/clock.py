"""The current time. Durations are measured elsewhere, with monotonic clocks."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from dsx.core.errors import Unavailable
from dsx.core.model import Micros

SECOND: Micros = 1_000_000
DAY: Micros = 24 * 3600 * SECOND
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def now() -> Micros:
    """Return this instant; `Unavailable` if the clock is set before 1970."""
    instant = time.time_ns() // 1000
    if instant < 0:
        raise Unavailable("The server's clock is before 1970: its operator must set it.")
    return instant


def to_micros(moment: datetime) -> Micros:
    """Convert a datetime to an instant; naive ones are taken as UTC."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - _EPOCH) // timedelta(microseconds=1)


def to_time(instant: Micros) -> datetime:
    """Convert an instant to a timezone-aware datetime."""
    return _EPOCH + timedelta(microseconds=instant)


def time_text(instant: Micros) -> str:
    """Format an instant in ISO 8601: UTC, microseconds."""
    return to_time(instant).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
