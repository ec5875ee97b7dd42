"""Bare connections to a hub, for what no HTTP library would send."""

from __future__ import annotations

from tests.support.hub import RunningHub
from tests.support.wire import Wire

_OPEN: list[Wire] = []


def dial(hub: RunningHub) -> Wire:
    """A connection that is closed when the test ends."""
    _OPEN.append(Wire(hub))
    return _OPEN[-1]


def hang_up() -> None:
    """Close what was dialled."""
    while _OPEN:
        _OPEN.pop().close()


def lines(fields: dict[str, str]) -> list[str]:
    """Fields as they stand in a head."""
    return [f"{name}: {value}" for name, value in fields.items()]
