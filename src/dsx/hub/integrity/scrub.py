"""The scrub: reads all that is stored again and again, slowly, and compares it with its digests.

Progress is in the catalog: a cycle goes on after a restart where it was, and of all processes that
share a catalog one does the work at a time.
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
"""Bytes a second at which even a small store is read: a cycle need not take all its days."""
_WEIGHT = 64 * 1024
"""Bytes that the opening of a file counts for."""
_HELD = 15 * SECOND
_SAVED = 3.0  # seconds between two records of the progress
_PAGE = 200
_MARGIN = 0.9  # of the days of a cycle are planned for
_SHOWN = 10
_COUNTED = 30.0  # seconds for which totals are remembered: they cost a look at every row


@dataclass(frozen=True, slots=True)
class Item:
    """Something to check: ``position`` orders all of them, ``key`` is for its kind alone."""

    position: str
    size: int
    key: object


class Kind(Protocol):
    """What can be checked: its ``name``, and that of its ``row`` in the catalog."""

    name: str
    row: str

    async def totals(self) -> tuple[int, int]:
        """How many there are, and their bytes."""

    async def page(self, after: str, limit: int) -> Sequence[Item]:
        """The next ones."""

    async def check(self, item: Item, pace: RateLimiter) -> bool:
        """Whether it is in order."""


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
    """How far one kind is: its cycle, and what there is in all."""

    name: str
    cycle: Cycle
    total: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class Finding:
    """A damaged blob, and some of the versions whose bytes it has."""

    damage: Damage
    versions: Sequence[FileVersion]


class Scrub:
    """Runs the cycles, and says how far they are."""

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
        """How far each kind is; for admins."""
        access.require(principal, "admin")
        return await self.progress()

    async def progress(self) -> Sequence[Status]:
        """The same for the hub itself."""
        return [
            Status(
                kind.name,
                await self._catalog.read(partial(scrubs.get, name=kind.row)),
                *await self.totals(kind),
            )
            for kind in self._kinds
        ]

    async def totals(self, kind: Kind) -> tuple[int, int]:
        """What there is of *kind*, and its bytes; counted at most twice a minute."""
        until, found = self._counted.get(kind.name, (0.0, (0, 0)))
        if time.monotonic() >= until:
            found = await kind.totals()
            self._counted[kind.name] = time.monotonic() + _COUNTED, found
        return found

    async def findings(self, principal: Principal, after: str, limit: int) -> Sequence[Finding]:
        """Damaged blobs by digest; for admins."""
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
        """How many blobs are damaged."""
        return await self._catalog.read(records.count_damaged)

    async def request(self, principal: Principal) -> None:
        """Have a cycle of each kind begin at once, and run as quickly as it may; for admins."""
        access.require(principal, "admin")
        for kind in self._kinds:
            await self._catalog.write(partial(scrubs.request, name=kind.row, now=now()))

    async def run(self) -> None:
        """Go on with what is due, to its end, unless another process does it."""
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
        """Bytes a second at which to read: so that the cycle ends in time, and not above the cap.

        What was begun by request goes as fast as it may.
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
    """One process going through one kind."""

    def __init__(self, scrub: Scrub, catalog: Catalog, kind: Kind, holder: str) -> None:
        self._scrub = scrub
        self._catalog = catalog
        self._kind = kind
        self._holder = holder
        self._cycle = Cycle()
        self._rate = float(FLOOR)
        self._allowed = self._saved = time.monotonic()

    async def run(self) -> None:
        """Begin or go on, until all is checked."""
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
                    if self._cycle.begun == begun:  # else another cycle was asked for meanwhile
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
        """Wait until as much as was read may have been read; keep the hold meanwhile."""
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
    """*cycle* if it is to go on; else the next one, from the beginning."""
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
