"""How many connections a process keeps, and what those beyond are told."""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import structlog
from prometheus_client import Counter, Gauge

log = structlog.get_logger(__name__)
_CONNECTIONS = Gauge("dsx_http_connections", "Open connections.", multiprocess_mode="livesum")
_REFUSED = Counter("dsx_http_connections_refused", "Connections beyond those that may be open.")

OWN = 40
"""Files that a process has open for itself, about: its catalog, its log, its directories."""
OF_EACH = 1.9
"""Files to a connection: its own, and one of what it asks for, unless it is among the few idle."""
SILENCE = 10.0
"""Seconds between two lines in the log about connections that were refused."""
_FAREWELL = 1.0  # seconds for a client to read the refusal
_FAREWELLS = 64  # at a time
_REFUSAL = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


def most_connections(wanted: int, *, asked: bool = True) -> int:
    """*wanted*, or fewer if that is what this process has room for; the log tells who *asked*."""
    files = raise_open_files()
    room = max(1, int((files - OWN) / OF_EACH))
    if room < wanted and asked:
        log.warning("fewer connections than DSX_MAX_CONNECTIONS", most=room, open_files=files)
    return min(room, wanted)


def raise_open_files() -> int:
    """Let this process open as many files as the system allows; how many that is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(ValueError, OSError):  # an unlimited hard limit is more than there can be
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
    return soft if soft != resource.RLIM_INFINITY else 1 << 20


class ConnectionLimit:
    """Keeps a process below its limit of open files, whoever opens connections to it."""

    def __init__(self, most: int | None = None, refusal: bytes = _REFUSAL) -> None:
        """At most *most* connections; None: any number. *refusal*: the response to those beyond."""
        self.most = most
        self._refusal = refusal
        self._farewells = 0
        self._refused = 0
        self._told = -SILENCE

    def admits(self, transport: asyncio.Transport, present: int) -> bool:
        """Whether a new connection may stay beside *present* others; else it is refused here."""
        if self.most is None or present < self.most:
            _CONNECTIONS.inc()
            return True
        self.count_refused()
        if self._farewells < _FAREWELLS:
            self._farewells += 1
            transport.set_protocol(_Farewell(self, transport))
            transport.write(self._refusal)
            if transport.can_write_eof():
                transport.write_eof()
        else:
            transport.write(self._refusal)
            transport.set_protocol(asyncio.Protocol())
            transport.close()
        return False

    def left(self) -> None:
        """A connection that was admitted is over."""
        _CONNECTIONS.dec()

    def farewell_ended(self) -> None:
        """One that was refused is over, too."""
        self._farewells -= 1

    def count_refused(self) -> None:
        """Count a connection that is not kept; the log has one line in `SILENCE` seconds."""
        _REFUSED.inc()
        self._refused += 1
        if time.monotonic() - self._told >= SILENCE:
            log.warning("connections refused", count=self._refused, most=self.most)
            self._told, self._refused = time.monotonic(), 0

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Have *loop* count what it cannot accept, of which it would log each try with a traceback.

        That happens if the process has no descriptor left in spite of the limit.
        """

        def handle(loop: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
            message = context.get("message", "")
            if "accept() out of system resource" in message:
                self.count_refused()
            elif "_start_serving" not in message:  # which is tried again, closed meanwhile or not
                loop.default_exception_handler(dict(context))

        loop.set_exception_handler(handle)


class _Farewell(asyncio.Protocol):
    """Gives a client that is refused the time to read why, and discards what it sends."""

    def __init__(self, limit: ConnectionLimit, transport: asyncio.Transport) -> None:
        self._limit = limit
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(_FAREWELL, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has left, or its time is over."""
        _ = exc
        self._timer.cancel()
        self._limit.farewell_ended()
