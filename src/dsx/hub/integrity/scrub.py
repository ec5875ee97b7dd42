"""The scrub: reads all stored bytes again and again, slowly, and verifies their digests.

Progress is in the catalog: a cycle continues after a restart, and of all processes that share a
catalog one does the work at a time.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import structlog
from sqlalchemy import Connection

from dsx.catalog import blobs as records
from dsx.catalog import files, scrubs
from dsx.catalog.database import Catalog
from dsx.catalog.scrubs import Cycle
from dsx.core.digest import Digest
from dsx.core.model import Damage, FileVersion, Micros
from dsx.core.principals import Principal
from dsx.core.shield import run_to_completion
from dsx.hub.accounts import access
from dsx.hub.clock import DAY, SECOND, now
from dsx.hub.integrity.damage import Inspector, RateLimiter

log = structlog.get_logger(__name__)

FLOOR = 1024 * 1024
"""Minimum bytes a second: a small store need not take all the days of a cycle."""
_WEIGHT = 64 * 1024
"""The cost of opening a file, in bytes."""
_HELD = 15 * SECOND
_SAVED = 3.0  # seconds between two records of the progress
_PAGE = 200
_MARGIN = 0.9  # share of a cycle's days that is planned for
_SHOWN = 10
_COUNTED = 30.0  # seconds for which totals are cached: they read every row


@dataclass(frozen=True, slots=True)
class Item:
    """An item to check: ``position`` orders all of them, ``key`` is used by its kind only."""

    position: str
    size: int
    key: object


class Kind(Protocol):
    """A kind of item: its ``name``, and that of its ``row`` in the catalog."""

    name: str
    row: str

    async def totals(self) -> tuple[int, int]:
        """Return the number of items, and their bytes."""

    async def page(self, after: str, limit: int) -> Sequence[Item]:
        """Return the next items."""

    async def check(self, item: Item, pace: RateLimiter) -> bool:
        """Return whether the item is intact."""


class Blobs:
    """The stored bytes of files."""

    name = row = "blobs"

    def __init__(self, catalog: Catalog, inspector: Inspector) -> None:
        self._catalog = catalog
        self._inspector = inspector

    async def totals(self) -> tuple[int, int]:
        """See `Kind`."""
        return await self._catalog.read(records.totals)

    async def page(self, after: str, limit: int) -> Sequence[Item]:
        """See `Kind`."""
        if not after:
            await self._inspector.recover()
        found = await self._catalog.read(partial(records.to_check, after=after, limit=limit))
        return [Item(digest, size, sealed) for digest, size, sealed in found]

    async def check(self, item: Item, pace: RateLimiter) -> bool:
        """See `Kind`."""
        sealed = item.key
        assert isinstance(sealed, int)
        return await self._inspector.inspect(Digest(item.position), item.size, sealed, pace) is None


@dataclass(frozen=True, slots=True)
class Status:
    """The progress of one kind: its cycle, and the totals."""

    name: str
    cycle: Cycle
    total: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class Finding:
    """A damaged blob, and some of the versions with its bytes."""

    damage: Damage
    versions: Sequence[FileVersion]


class Scrub:
    """Runs the cycles, and reports their progress."""

    def __init__(
        self, catalog: Catalog, kinds: Sequence[Kind], *, days: float | None, rate: int | None
    ) -> None:
        """A cycle takes *days* (None: only on request), and reads at most *rate* bytes a second."""
        self._catalog = catalog
        self._kinds = kinds
        self.days = days
        self.rate = rate
        self._holder = uuid.uuid4().hex
        self._counted: dict[str, tuple[float, tuple[int, int]]] = {}

    async def status(self, principal: Principal) -> Sequence[Status]:
        """Return the progress of each kind; for admins."""
        access.require(principal, "admin")
        return await self.progress()

    async def progress(self) -> Sequence[Status]:
        """Return the progress of each kind, for the hub itself."""
        return [
            Status(
                kind.name,
                await self._catalog.read(partial(scrubs.get, name=kind.row)),
                *await self.totals(kind),
            )
            for kind in self._kinds
        ]

    async def totals(self, kind: Kind) -> tuple[int, int]:
        """Return the number of items of *kind*, and their bytes; counted at most twice a minute."""
        until, found = self._counted.get(kind.name, (0.0, (0, 0)))
        if time.monotonic() >= until:
            found = await kind.totals()
            self._counted[kind.name] = time.monotonic() + _COUNTED, found
        return found

    async def findings(self, principal: Principal, after: str, limit: int) -> Sequence[Finding]:
        """Return damaged blobs by digest; for admins."""
        access.require(principal, "admin")
        found = await self._catalog.read(partial(records.damaged, after=after, limit=limit))
        return [
            Finding(
                one,
                await self._catalog.read(partial(files.of_blob, digest=one.digest, limit=_SHOWN)),
            )
            for one in found
        ]

    async def damaged(self) -> int:
        """Return how many blobs are damaged."""
        return await self._catalog.read(records.count_damaged)

    async def request(self, principal: Principal) -> None:
        """Start a cycle of each kind now, at full speed; for admins."""
        access.require(principal, "admin")
        for kind in self._kinds:
            await self._catalog.write(partial(scrubs.request, name=kind.row, now=now()))

    async def run(self) -> None:
        """Run what is due to its end, unless another process does."""
        for kind in self._kinds:
            cycle = await self._catalog.read(partial(scrubs.get, name=kind.row))
            if cycle.running or self._due(cycle):
                await _Run(self, self._catalog, kind, self._holder).run()

    def _due(self, cycle: Cycle) -> bool:
        if cycle.requested is not None:
            return True
        if self.days is None:
            return False
        return cycle.begun is None or now() >= cycle.begun + int(self.days * DAY)

    def rate_for(self, cycle: Cycle, total: int, total_bytes: int) -> float:
        """Return the bytes a second to read so that the cycle ends in time, within the cap.

        Requested cycles run at full speed.
        """
        cap = float(self.rate or 1 << 62)
        if self.days is None or cycle.begun is None or cycle.requested is not None:
            return cap
        left = total_bytes - cycle.checked_bytes + _WEIGHT * (total - cycle.checked)
        seconds = (cycle.begun - now() + _MARGIN * self.days * DAY) / SECOND
        return min(cap, max(FLOOR, left / max(1.0, seconds)))


class _LostHoldError(Exception):
    """Another process has taken over."""


class _Run:
    """One process checking one kind."""

    def __init__(self, scrub: Scrub, catalog: Catalog, kind: Kind, holder: str) -> None:
        self._scrub = scrub
        self._catalog = catalog
        self._kind = kind
        self._holder = holder
        self._cycle = Cycle()
        self._rate = float(FLOOR)
        self._allowed = self._saved = time.monotonic()

    async def run(self) -> None:
        """Begin or continue, until everything is checked."""
        instant = now()
        take = partial(
            scrubs.take,
            name=self._kind.row,
            holder=self._holder,
            now=instant,
            until=instant + _HELD,
        )
        cycle = await self._catalog.write(take, durable=False)
        if cycle is None:
            return
        self._cycle = _begun(cycle)
        try:
            await self._save(instant + _HELD)
            while items := await self._kind.page(self._cycle.position, _PAGE):
                begun = self._cycle.begun
                for item in items:
                    if self._cycle.begun == begun:  # else another cycle was requested meanwhile
                        await self._check(item)
            self._cycle = _ended(self._cycle)
        except _LostHoldError:
            return
        finally:
            await run_to_completion(self._catalog.write(self._record(None)))
        log.info("scrubbed", kind=self._kind.name, **(self._cycle.last or {}))

    async def _check(self, item: Item) -> None:
        begun = self._cycle.begun
        await self._pace(_WEIGHT)
        intact = await self._kind.check(item, self._pace)
        cycle = self._cycle
        if cycle.begun != begun:
            return
        self._cycle = replace(
            cycle,
            position=item.position,
            checked=cycle.checked + 1,
            checked_bytes=cycle.checked_bytes + item.size,
            found=cycle.found + (not intact),
        )

    async def _pace(self, size: int) -> None:
        """Wait as the rate requires; keep the hold meanwhile."""
        self._allowed = max(self._allowed, time.monotonic() - 1) + size / self._rate
        while True:
            wait = min(_SAVED, self._allowed - time.monotonic())
            if wait > 0:
                await asyncio.sleep(wait)
            if time.monotonic() - self._saved >= _SAVED:
                await self._save(now() + _HELD)
            if time.monotonic() >= self._allowed:
                return

    async def _save(self, until: Micros) -> None:
        self._saved = time.monotonic()
        current = await self._catalog.write(self._record(until), durable=False)
        if current is None:
            raise _LostHoldError
        self._cycle = _begun(replace(self._cycle, requested=current.requested))
        self._rate = self._scrub.rate_for(self._cycle, *await self._scrub.totals(self._kind))

    def _record(self, until: Micros | None) -> Callable[[Connection], Cycle | None]:
        return partial(
            scrubs.save,
            name=self._kind.row,
            holder=self._holder,
            cycle=self._cycle,
            until=until,
        )


def _begun(cycle: Cycle) -> Cycle:
    """Return *cycle* if it is unfinished; else the next one, from the beginning."""
    if cycle.begun is not None and cycle.ended is None and (cycle.requested or 0) <= cycle.begun:
        return cycle
    return Cycle(begun=now(), requested=cycle.requested, last=cycle.last)


def _ended(cycle: Cycle) -> Cycle:
    figures = {
        "begun": cycle.begun,
        "ended": now(),
        "checked": cycle.checked,
        "checked_bytes": cycle.checked_bytes,
        "found": cycle.found,
    }
    return replace(cycle, ended=now(), last=figures)
