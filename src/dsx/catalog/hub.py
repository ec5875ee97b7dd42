"""The identity and age of this catalog: see `dsx.hub.integrity.belonging`."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, insert, select, update

from dsx.catalog.database import lock
from dsx.catalog.schema.content import hub
from dsx.core.model import Micros

_LOCK = 0x687562  # "hub"


@dataclass(frozen=True, slots=True)
class HubId:
    """The id of a hub, and a number that grows, last at ``renewed``."""

    id: str
    generation: int
    renewed: Micros


def get(connection: Connection) -> HubId | None:
    """Return the identity; None if there is none yet."""
    row = connection.execute(select(hub)).first()
    return HubId(row.id, row.generation, row.renewed) if row else None


def renew(connection: Connection, id_: str, now: Micros) -> HubId:
    """Return the identity with the next generation; *id_* is its id if it has none yet."""
    lock(connection, _LOCK)
    found = get(connection)
    if found is None:
        connection.execute(insert(hub).values(id=id_, generation=1, renewed=now))
        return HubId(id_, 1, now)
    generation = found.generation + 1
    connection.execute(update(hub).values(generation=generation, renewed=now))
    return HubId(found.id, generation, now)
