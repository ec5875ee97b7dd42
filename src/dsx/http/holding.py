"""Bounds the memory that request bodies take in a process, in total and per caller.

Unauthenticated callers have a separate budget, shared by address, so they cannot crowd out
others. Short bodies are never refused: all connections together hold little of those.
"""

from __future__ import annotations

import ipaddress
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.requests import Request

from dsx.core.errors import Unavailable
from dsx.http.credentials import address_of
from dsx.hub.accounts.access import ANONYMOUS

SHORT = 4 * 1024
"""Bodies up to this many bytes do not count: a sign-in is shorter."""
_MIB = 1024 * 1024


class Room:
    """A memory budget for bodies in bytes; thread-safe."""

    def __init__(self, most: int, of_one: int) -> None:
        """Allow *most* bytes in total and *of_one* per caller."""
        self._most = most
        self._of_one = of_one
        self._lock = threading.Lock()
        self._held: Counter[str] = Counter()
        self._all = 0

    def take(self, whose: str, count: int) -> None:
        """Reserve *count* more bytes; raises `Unavailable` beyond the budget."""
        with self._lock:
            if self._all + count > self._most or self._held[whose] + count > self._of_one:
                raise Unavailable("The server is handling too many large requests. Try again.")
            self._all += count
            self._held[whose] += count

    def give_back(self, whose: str, count: int) -> None:
        """Release *count* bytes."""
        with self._lock:
            self._all -= count
            self._held[whose] -= count
            if not self._held[whose]:
                del self._held[whose]


KNOWN = Room(64 * _MIB, 32 * _MIB)
STRANGERS = Room(16 * _MIB, 2 * _MIB)


class Hold:
    """One request's share of a `Room`."""

    def __init__(self, room: Room, whose: str) -> None:
        self._room = room
        self._whose = whose
        self._size = 0
        self._taken = 0

    def add(self, count: int) -> None:
        """Reserve *count* more bytes; raises `Unavailable` beyond the budget, unless few."""
        size = self._size + count
        if size > SHORT:
            self._room.take(self._whose, size - self._taken)
            self._taken = size
        self._size = size

    def end(self) -> None:
        """Release everything."""
        if self._taken:
            self._room.give_back(self._whose, self._taken)
        self._size = self._taken = 0


@contextmanager
def holding(request: Request) -> Iterator[Hold]:
    """Account the memory of *request* within the block to its principal, or to its address."""
    principal = getattr(request.state, "principal", None)
    if principal is None or principal.id == ANONYMOUS:
        hold = Hold(STRANGERS, _neighbourhood(address_of(request)))
    else:
        hold = Hold(KNOWN, principal.id)
    try:
        yield hold
    finally:
        hold.end()


def _neighbourhood(address: str) -> str:
    """The address, or for IPv6 its /64, all of which one host may use."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:  # noqa: PLR2004
        return address
    return str(ipaddress.ip_network((parsed, 64), strict=False))
