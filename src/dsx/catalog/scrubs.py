"""The progress of the scrub, and the process that runs it.

One row per kind of item. Of all processes that share the catalog one holds it at a time, for as
long as it renews the hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, insert, or_, select, update

from dsx.catalog.database import lock
from dsx.catalog.schema.content import scrubs
from dsx.core.model import Micros

_LOCK = 0x73637262  # "scrb"
_CLOCK_STEP = 60_000_000  # a hold further ahead: the clock was set back meanwhile


@dataclass(frozen=True, slots=True)
class Cycle:
    """The progress of one cycle over everything; ``begun`` is None before the first.

    Attributes:
        ended: when it was completed; None while it runs.
        requested: when an immediate cycle was requested that has not begun yet.
        position: the last item checked.
        checked: number of items checked.
        found: number of damaged ones.
        last: the figures of the last completed cycle.
    """

    begun: Micros | None = None
    ended: Micros | None = None
    requested: Micros | None = None
    position: str = ""
    checked: int = 0
    checked_bytes: int = 0
    found: int = 0
    last: dict[str, Any] | None = None

    @property
    def running(self) -> bool:
        """Whether it has begun and not ended."""
        return self.begun is not None and self.ended is None


def get(connection: Connection, name: str) -> Cycle:
    """Return the current cycle of *name*."""
    row = connection.execute(select(scrubs).where(scrubs.c.name == name)).first()
    return _cycle(row) if row else Cycle()


def take(
    connection: Connection, name: str, holder: str, now: Micros, until: Micros
) -> Cycle | None:
    """Let *holder* run the scrub until then; None if another process does."""
    _require(connection, name)
    free = or_(
        scrubs.c.holder.is_(None),
        scrubs.c.holder == holder,
        scrubs.c.held_until < now,
        scrubs.c.held_until > until + _CLOCK_STEP,
    )
    values = {"holder": holder, "held_until": until}
    mine = scrubs.c.name == name, free
    if not connection.execute(update(scrubs).where(*mine).values(values)).rowcount:
        return None
    return get(connection, name)


def save(
    connection: Connection, name: str, holder: str, cycle: Cycle, until: Micros | None
) -> Cycle | None:
    """Record the progress, and hold on until then (None: let go); None if another took over.

    A request made after the cycle began stays; a fulfilled one is cleared.
    """
    values = {
        "holder": None if until is None else holder,
        "held_until": until or 0,
        "begun": cycle.begun,
        "ended": cycle.ended,
        "position": cycle.position,
        "checked": cycle.checked,
        "checked_bytes": cycle.checked_bytes,
        "found": cycle.found,
        "last": cycle.last,
    }
    mine = scrubs.c.name == name, scrubs.c.holder == holder
    if not connection.execute(update(scrubs).where(*mine).values(values)).rowcount:
        return None
    if cycle.ended is not None:
        fulfilled = scrubs.c.name == name, scrubs.c.requested <= cycle.begun
        connection.execute(update(scrubs).where(*fulfilled).values(requested=None))
    return get(connection, name)


def request(connection: Connection, name: str, now: Micros) -> None:
    """Request an immediate cycle."""
    _require(connection, name)
    same = scrubs.c.name == name
    connection.execute(update(scrubs).where(same).values(requested=now))


def _require(connection: Connection, name: str) -> None:
    lock(connection, _LOCK)
    if connection.execute(select(scrubs.c.name).where(scrubs.c.name == name)).first() is None:
        empty = {"held_until": 0, "position": "", "checked": 0, "checked_bytes": 0, "found": 0}
        connection.execute(insert(scrubs).values(name=name, **empty))


def _cycle(row: Row[Any]) -> Cycle:
    return Cycle(
        begun=row.begun,
        ended=row.ended,
        requested=row.requested,
        position=row.position,
        checked=row.checked,
        checked_bytes=row.checked_bytes,
        found=row.found,
        last=row.last,
    )
