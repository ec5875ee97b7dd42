"""Counts incoming bytes that the catalog does not count yet against their owner's quota.

Stored files and uploads of known length are counted in the catalog. Files sent in one request, or
without a declared length, are counted here as they arrive, for all requests of this process: many
concurrent senders cannot exceed what one may.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from dsx.catalog.database import Catalog
from dsx.core.errors import TooLarge
from dsx.hub.limits import Limits, over_quota

_TRIES = 3
_PAUSE = 0.05
"""Bytes just recorded may be counted twice for a moment, so a refusal is retried."""


@dataclass(slots=True)
class _Space:
    """One owner's bytes counted in the catalog, incoming bytes, and number of senders."""

    counted: int = 0
    coming: int = 0
    holders: int = 0


class Allowances:
    """The quotas of this process's requests."""

    def __init__(self, catalog: Catalog, limits: Limits) -> None:
        self._catalog = catalog
        self._limits = limits
        self._spaces: dict[str, _Space] = {}
        self._lock = threading.Lock()

    @asynccontextmanager
    async def hold(self, owner: str, promised: int = 0) -> AsyncIterator[Allowance]:
        """Provide an allowance within the block; see `open`."""
        allowance = await self.open(owner, promised)
        try:
            yield allowance
        finally:
            allowance.close()

    async def open(self, owner: str, promised: int = 0) -> Allowance:
        """Return an allowance for bytes of *owner*, at least *promised* of them.

        `TooLarge` if those do not fit. The caller must call ``close``.
        """
        for left in reversed(range(_TRIES)):
            standing = partial(self._limits.standing, owner=owner)
            most, counted = await self._catalog.read(standing)
            if most is None:
                return Allowance(self, owner, None)
            try:
                return self._opened(owner, most, counted, promised)
            except TooLarge:
                if not left:
                    raise
            await asyncio.sleep(_PAUSE)
        raise AssertionError

    def _opened(self, owner: str, most: int, counted: int, promised: int) -> Allowance:
        with self._lock:
            space = self._spaces.setdefault(owner, _Space())
            space.counted = counted
            space.holders += 1
        allowance = Allowance(self, owner, most)
        try:
            allowance.reach(promised)
        except TooLarge:
            allowance.close()
            raise
        return allowance

    def take(self, owner: str, most: int, more: int) -> None:
        """Count *more* bytes of *owner*; `TooLarge`, and nothing is counted, beyond *most*."""
        with self._lock:
            space = self._spaces[owner]
            used = space.counted + space.coming
            if used + more > most:
                raise over_quota(most, used, more)
            space.coming += more

    def settle(self, owner: str, size: int, *, recorded: bool) -> None:
        """Stop counting *size* bytes as incoming: they are *recorded*, or dropped."""
        with self._lock:
            space = self._spaces[owner]
            space.coming -= size
            space.counted += size if recorded else 0

    def leave(self, owner: str) -> None:
        """Remove one sender."""
        with self._lock:
            self._spaces[owner].holders -= 1
            if not self._spaces[owner].holders:
                del self._spaces[owner]


class Allowance:
    """The quota left for one request. Thread-safe."""

    def __init__(self, allowances: Allowances, owner: str, most: int | None) -> None:
        """None as *most*: no limit."""
        self._allowances = allowances
        self._owner = owner
        self._most = most
        self._come = 0
        self._held = 0
        self._open = most is not None

    def add(self, size: int) -> None:
        """Count *size* more bytes: `TooLarge` if they are too many."""
        if self._open:
            self.reach(self._come + size)
            self._come += size

    def reach(self, size: int) -> None:
        """Raise the count to *size* bytes for the whole request."""
        if self._most is not None and size > self._held:
            self._allowances.take(self._owner, self._most, size - self._held)
            self._held = size

    def recorded(self, size: int) -> None:
        """Release *size* bytes that the catalog counts now."""
        size = min(size, self._held)
        if self._open and size > 0:
            self._allowances.settle(self._owner, size, recorded=True)
            self._held -= size
            self._come = max(0, self._come - size)

    def close(self) -> None:
        """Release the allowance. Idempotent."""
        if self._open:
            self._open = False
            self._allowances.settle(self._owner, self._held, recorded=False)
            self._allowances.leave(self._owner)
