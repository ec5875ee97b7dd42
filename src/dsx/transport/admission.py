"""Limits the connections of a process, and refuses those beyond the limit."""

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
_REFUSED = Counter("dsx_http_connections_refused", "Connections refused beyond the limit.")

OWN = 40
"""Approximate number of files that a process itself has open: catalog, log, directories."""
OF_EACH = 1.9
"""Open files per connection: its socket and, except for a few idle ones, the requested file."""
SILENCE = 10.0
"""Minimum seconds between two log lines about refused connections."""
_FAREWELL = 1.0  # seconds for a client to read the refusal
_FAREWELLS = 64  # at a time
_REFUSAL = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


def most_connections(wanted: int, *, asked: bool = True) -> int:
    """*wanted*, or fewer if the open-file limit allows fewer; logged if explicitly *asked*."""
    files = raise_open_files()
    room = max(1, int((files - OWN) / OF_EACH))
    if room < wanted and asked:
        log.warning("fewer connections than DSX_MAX_CONNECTIONS", most=room, open_files=files)
    return min(room, wanted)


def raise_open_files() -> int:
    """Raise this process's open-file limit to the hard limit, and return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(ValueError, OSError):  # an unlimited hard limit may exceed the system's
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
    return soft if soft != resource.RLIM_INFINITY else 1 << 20


class ConnectionLimit:
    """Keeps a process below its limit of open files by refusing connections."""

    def __init__(self, most: int | None = None, refusal: bytes = _REFUSAL) -> None:
        """Allow *most* connections, None: any number; send *refusal* to those beyond."""
        self.most = most
        self._refusal = refusal
        self._farewells = 0
        self._refused = 0
        self._told = -SILENCE

    def admits(self, transport: asyncio.Transport, present: int) -> bool:
        """Return whether to keep a new connection beside *present* others; else refuse it."""
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
        """Count an admitted connection as closed."""
        _CONNECTIONS.dec()

    def farewell_ended(self) -> None:
        """Count a refused connection as closed."""
        self._farewells -= 1

    def count_refused(self) -> None:
        """Count a refused connection; log at most one line per `SILENCE` seconds."""
        _REFUSED.inc()
        self._refused += 1
        if time.monotonic() - self._told >= SILENCE:
            log.warning("connections refused", count=self._refused, most=self.most)
            self._told, self._refused = time.monotonic(), 0

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Count failed accepts of *loop*, which would log a traceback for each attempt.

        They fail if the process runs out of descriptors in spite of the limit.
        """

        def handle(loop: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
            message = context.get("message", "")
            if "accept() out of system resource" in message:
                self.count_refused()
            elif "_start_serving" not in message:  # retried, even if closed meanwhile
                loop.default_exception_handler(dict(context))

        loop.set_exception_handler(handle)


class _Farewell(asyncio.Protocol):
    """Gives a refused client time to read the response; discards what it sends."""

    def __init__(self, limit: ConnectionLimit, transport: asyncio.Transport) -> None:
        self._limit = limit
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(_FAREWELL, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """Count the connection as closed."""
        _ = exc
        self._timer.cancel()
        self._limit.farewell_ended()
