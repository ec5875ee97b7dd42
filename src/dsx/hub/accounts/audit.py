"""The audit log. Changes are recorded in the transactions that make them, refusals soon after."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection

from dsx.catalog import audit as records
from dsx.catalog.database import Catalog
from dsx.core.errors import NotFound
from dsx.core.model import Micros
from dsx.core.principals import Event, Principal
from dsx.hub.accounts import access
from dsx.hub.accounts.refusals import Refusals
from dsx.hub.clock import DAY, now

_BATCH = 5000


def note(
    connection: Connection, principal: Principal, action: str, target: str, **details: Any
) -> None:
    """Record a change in the transaction that makes it: both are committed, or neither."""
    records.add(connection, records.entry(principal, now(), action, target, details=details))


class Audit:
    """Reads the log, records refusals, and keeps the log within its bounds."""

    def __init__(self, catalog: Catalog, *, days: float, rows: int, size: int) -> None:
        """Keep entries for *days* days, at most *rows* of them and about *size* bytes."""
        self._catalog = catalog
        self._keep = int(days * DAY)
        self._rows = rows
        self._size = size
        self._refusals = Refusals(catalog)

    def refused(self, principal: Principal | None, address: str, action: str, why: str) -> None:
        """Record a denied or failed attempt; see `Refusals`."""
        self._refusals.add(principal, address, action, why)

    async def list(
        self,
        principal: Principal,
        *,
        before: int | None = None,
        limit: int,
        user: str | None = None,
        outcome: str | None = None,
    ) -> Sequence[Event]:
        """Return entries, newest first: for admins all, or only *user*'s; for others their own.

        Entries of deleted accounts are kept under their names, beside those of later accounts of
        the same name. `NotFound` if *user* is somebody else and the caller is no admin, or if no
        account ever had that name.
        """
        access.require(principal, "read")
        access.require_account(principal)
        if user is not None and not principal.admin and user != principal.name:
            raise NotFound(f"You may not see the log entries of {user!r}.")

        def work(connection: Connection) -> Sequence[Event]:
            owners: Sequence[str] | None = [principal.id]
            if principal.admin:
                owners = records.called(connection, user) if user else None
            if owners == []:
                raise NotFound(f"The log has no entries of {user!r}.")
            return records.page(
                connection, before=before, limit=limit, principals=owners, outcome=outcome
            )

        return await self._catalog.read(work)

    async def drop_expired(self, instant: Micros) -> None:
        """Delete entries that are too old at *instant*, and those over the limits.

        Over the limits, the oldest refusals go first.
        """
        await self._catalog.write(
            lambda connection: records.delete_expired(connection, instant - self._keep)
        )
        for refused in (True, False):
            while (over := await self._over()) > 0:
                limit = min(over, _BATCH)
                if not await self._catalog.write(
                    lambda connection: records.drop_oldest(connection, limit, refused=refused)  # noqa: B023
                ):
                    break

    async def aclose(self) -> None:
        """Write pending entries."""
        await self._refusals.aclose()

    async def _over(self) -> int:
        """Return about how many entries are over the limits."""
        rows, size = await self._catalog.read(records.extent)
        over = rows - self._rows
        if size > self._size:
            over = max(over, math.ceil((size - self._size) * rows / size))
        return over
