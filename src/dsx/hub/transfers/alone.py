"""Detects active senders, for uploads with one sender at a time.

A connection may be dead without anyone knowing, and then the newcomer is the same client, retrying.
So what counts is incoming bytes: while they arrive, a second sender is refused; once they have
stopped for a moment, it takes over as with any other upload.
"""

from __future__ import annotations

import asyncio
import time

from sqlalchemy import Connection

from dsx.catalog import uploads, writers
from dsx.catalog.database import Catalog
from dsx.core.errors import Conflict
from dsx.core.intervals import IntervalSet
from dsx.core.ranges import ByteRange
from dsx.core.transfers import Upload
from dsx.hub.clock import SECOND, now
from dsx.hub.transfers.leases import EVERYTHING

_WATCH = 1.6
"""Seconds without bytes that count as silence; progress is recorded about twice a second."""
_STEP = 0.1
_RECENT = SECOND
_ALL = ByteRange(0, EVERYTHING)


async def wait_for_silence(catalog: Catalog, upload: Upload) -> None:
    """Return once nobody sends bytes of *upload*; `Conflict` as soon as some arrive."""

    def look(connection: Connection) -> IntervalSet | None:
        if not writers.overlapping(connection, upload.id, _ALL):
            return None
        found = uploads.find(connection, upload.owner, upload.id)
        return None if found is None or found.state != "open" else found.received

    first = await catalog.read(look)
    deadline = time.monotonic() + _WATCH
    while first is not None and time.monotonic() < deadline:
        await asyncio.sleep(_STEP)
        received = await catalog.read(look)
        if received is None:
            return
        if received != first:
            raise _another(upload.id)


def enter_alone(id_: str, expiry: int, connection: Connection) -> None:
    """Raise `Conflict` if somebody else has just begun to send; else mark the upload as ours.

    Detected by the *expiry* of the upload, which incoming bytes extend (in a transaction).
    """
    instant = now()
    if writers.overlapping(connection, id_, _ALL):
        heard = uploads.expiry(connection, id_) - expiry
        if abs(instant - heard) < _RECENT:
            raise _another(id_)
    uploads.touch(connection, [id_], instant + expiry)


def _another(id_: str) -> Conflict:
    return Conflict(
        "Another request is sending this upload; wait for it, or abort the task.", {"id": id_}
    )
