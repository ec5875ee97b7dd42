"""Refusals for the audit log: counted by caller, attempt and minute, not listed one by one.

Anybody can cause refusals, as often as they like; the cost must not depend on how often.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import structlog
from sqlalchemy import Connection

from dsx.catalog import audit as records
from dsx.catalog.database import Catalog
from dsx.core.addresses import source_of
from dsx.core.errors import DSXError
from dsx.core.principals import Principal
from dsx.hub.accounts import access
from dsx.hub.clock import SECOND, now

log = structlog.get_logger(__name__)

MOST = 1000
"""Entries a minute and process; further ones are counted together."""
_KINDS = 20
_SOON, _LATER = 0.5, 5.0
_MINUTE = 60 * SECOND
_Key = tuple[object, ...]


@dataclass(slots=True)
class _Group:
    """Refusals that share one entry."""

    entry: Mapping[str, Any]
    minute: int
    why: str | None
    count: int = 0
    seen: dict[str, int] = field(default_factory=dict)
    number: int | None = None
    written: int = 0

    def add(self, target: str, why: str) -> None:
        """Count one refusal."""
        self.count += 1
        kind = f"{target}: {why}"
        if kind not in self.seen and len(self.seen) >= _KINDS:
            kind = "others"
        self.seen[kind] = self.seen.get(kind, 0) + 1

    def details(self) -> dict[str, Any]:
        """Return the entry's details: the reason, or the count of each kind."""
        if self.why is not None:
            return {"why": self.why, "count": self.count}
        return {"count": self.count, "seen": dict(self.seen)}


class Refusals:
    """Collects refusals and writes them soon after the first, then periodically."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._groups: dict[_Key, _Group] = {}
        self._writing: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()

    def add(self, principal: Principal | None, address: str, target: str, why: str) -> None:
        """Count a refusal: of strangers by address and minute, of others also by attempt."""
        minute = now() // _MINUTE
        stranger = principal is None or principal.id == access.ANONYMOUS
        who = None if stranger else principal
        where = source_of(address)
        key: _Key = (minute, where)
        if who is not None:
            key = (minute, where, who.id, who.via, target, why)
        if key not in self._groups and len(self._groups) >= MOST:
            key, who, where, target = (minute,), None, "", ""
        group = self._groups.get(key)
        if group is None:
            entry = records.entry(who, now(), "refused", target, outcome="refused")
            entry["address"] = where
            group = _Group(entry, minute, None if who is None else why)
            self._groups[key] = group
        group.add(target, why)
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_on(), name="refusals")

    async def aclose(self) -> None:
        """Write pending refusals."""
        self._closing.set()
        if self._writing is not None:
            await self._writing

    async def _write_on(self) -> None:
        """Write until nothing is pending."""
        while self._groups:
            fresh = any(group.number is None for group in self._groups.values())
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._closing.wait(), _SOON if fresh else _LATER)
            grown = [one for one in self._groups.values() if one.written < one.count]
            if grown:
                await self._write(grown)
            minute = now() // _MINUTE
            self._groups = {
                key: group
                for key, group in self._groups.items()
                if group.written < group.count or (group.minute == minute and not self._closed)
            }
        self._writing = None

    @property
    def _closed(self) -> bool:
        return self._closing.is_set()

    async def _write(self, groups: Sequence[_Group]) -> None:
        rows = [(group.number, {**group.entry, "details": group.details()}) for group in groups]
        counts = [group.count for group in groups]

        def work(connection: Connection) -> list[int]:
            return [records.put(connection, number, row) for number, row in rows]

        try:
            numbers: Sequence[int | None] = await self._catalog.write(work, durable=False)
        except DSXError as error:
            log.warning("refusals not recorded", count=len(rows), error=error.message)
            numbers = [group.number for group in groups]
        for group, number, count in zip(groups, numbers, counts, strict=True):
            group.number, group.written = number, count
