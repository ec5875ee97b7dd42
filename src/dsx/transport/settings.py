"""Settings that the application passes to all connections of its process."""

from __future__ import annotations

from dataclasses import dataclass, field

from starlette.types import ASGIApp

from dsx.transport.admission import ConnectionLimit


@dataclass(frozen=True)
class ConnectionSettings:
    """Settings of all connections of a process."""

    stall_timeout: float = 60.0
    """Seconds for which a client may send or accept no byte."""
    min_rate: float = 0.0
    """Bytes per second that keep up the patience with a sender; 0: any byte does."""
    limit: ConnectionLimit = field(default_factory=ConnectionLimit)
    stopped: ASGIApp | None = None
    """Responds to requests that outlast the shutdown grace; None: close their connections."""
