"""The audit log. Changes are noted in the transactions that make them, refusals soon after."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from sqlalchemy import Connection

from dsx.catalog import audit as records
from dsx.catalog.engine import Catalog
from dsx.core.errors import DSXError
from dsx.core.principals import Event, Principal
from dsx.hub import access
from dsx.hub.clock import SECOND, now

log = structlog.get_logger(__name__)

_DELAY = 0.5
_WAITING = 1000
_DAY = 24 * 3600 * SECOND


def note(
    connection: Connection, principal: Principal, action: str, target: str, **details: Any
) -> None:
    """Note a change in the transaction that makes it: the log has it if, and only if, it is."""
    records.add(connection, records.entry(principal, now(), action, target, details=details))


class Audit:
    """Reads the log, and notes what was refused."""

    def __init__(self, catalog: Catalog, *, days: float) -> None:
        """Keep entries for *days* days."""
        self._catalog = catalog
        self._keep = int(days * _DAY)
        self._waiting: list[Mapping[str, Any]] = []
        self._missed = 0
        self._writing: asyncio.Task[None] | None = None

    def refused(self, principal: Principal | None, address: str, action: str, why: str) -> None:
        """Note that somebody tried what they may not do; a flood of that is counted, not listed."""
        entry = records.entry(principal, now(), "refused", action, outcome="refused")
        if len(self._waiting) >= _WAITING:
            self._missed += 1
            return
        self._waiting.append({**entry, "address": address, "details": {"why": why}})
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_soon(), name="audit")

    async def list(
        self,
        principal: Principal,
        *,
        before: int | None = None,
        limit: int,
        user: str | None = None,
        outcome: str | None = None,
    ) -> Sequence[Event]:
        """Entries, newest first. Admins see everybody's, others their own."""
        access.require(principal, "read")
        access.require_account(principal)

        def work(connection: Connection) -> Sequence[Event]:
            owner: str | None = principal.id
            if principal.admin:
                owner = access.space(connection, principal, user)[0] if user else None
            return records.page(
                connection, before=before, limit=limit, principal=owner, outcome=outcome
            )

        return await self._catalog.read(work)

    async def drop_expired(self) -> None:
        """Forget what is older than it has to be."""
        await self._catalog.write(lambda connection: records.tidy(connection, now() - self._keep))

    async def aclose(self) -> None:
        """Note what waits."""
        if self._writing is not None:
            await self._writing

    async def _write_soon(self) -> None:
        while self._waiting:
            await asyncio.sleep(_DELAY)
            entries, self._waiting = self._waiting, []
            missed, self._missed = self._missed, 0
            if missed:
                more = {"more": missed}
                row = records.entry(None, now(), "refused", "", outcome="refused", details=more)
                entries.append(row)
            await self._write(entries)
        self._writing = None

    async def _write(self, entries: Sequence[Mapping[str, Any]]) -> None:
        try:
            await self._catalog.write(
                lambda connection: records.add(connection, *entries), durable=False
            )
        except DSXError as error:
            log.warning("refusals not noted", count=len(entries), error=error.message)
