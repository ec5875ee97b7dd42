"""How much of all bodies together a process holds in memory, and who may hold how much of it.

Strangers have room of their own, and each address a share of it: what they hold refuses nobody
else. A short body is never refused, for what all connections together can hold of those is little.
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
"""A body of so many bytes counts for nothing: who signs in sends less."""
_MIB = 1024 * 1024


class Room:
    """Bytes of bodies, for threads and the event loop alike."""

    def __init__(self, most: int, of_one: int) -> None:
        """At most *most* of all together, and *of_one* of each."""
        self._most = most
        self._of_one = of_one
        self._lock = threading.Lock()
        self._held: Counter[str] = Counter()
        self._all = 0

    def take(self, whose: str, count: int) -> None:
        """Hold *count* bytes more; `Unavailable` if that would be too many."""
        with self._lock:
            if self._all + count > self._most or self._held[whose] + count > self._of_one:
                raise Unavailable("The server holds too many long requests; ask again.")
            self._all += count
            self._held[whose] += count

    def give_back(self, whose: str, count: int) -> None:
        """They are not held any more."""
        with self._lock:
            self._all -= count
            self._held[whose] -= count
            if not self._held[whose]:
                del self._held[whose]


KNOWN = Room(64 * _MIB, 32 * _MIB)
STRANGERS = Room(16 * _MIB, 2 * _MIB)


class Hold:
    """What one request holds of a `Room`."""

    def __init__(self, room: Room, whose: str) -> None:
        self._room = room
        self._whose = whose
        self._size = 0
        self._taken = 0

    def add(self, count: int) -> None:
        """Hold *count* bytes more; `Unavailable` if there is no room and they are not few."""
        size = self._size + count
        if size > SHORT:
            self._room.take(self._whose, size - self._taken)
            self._taken = size
        self._size = size

    def end(self) -> None:
        """Hold nothing any more."""
        if self._taken:
            self._room.give_back(self._whose, self._taken)
        self._size = self._taken = 0


@contextmanager
def holding(request: Request) -> Iterator[Hold]:
    """What *request* holds within the block, as who it is known to be from, or as a stranger."""
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
    """The address; of IPv6 the network, of which one host has all addresses."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:  # noqa: PLR2004
        return address
    return str(ipaddress.ip_network((parsed, 64), strict=False))
