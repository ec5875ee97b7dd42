"""HTTP metrics for Prometheus, and the middleware that records and logs requests."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from typing import Literal

import structlog
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
)
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dsx.core.errors import DSXError
from dsx.hub.clock import SECOND
from dsx.hub.hub import Hub
from dsx.redaction import shown_path

CONTENT_TYPE = CONTENT_TYPE_LATEST
log = structlog.get_logger("dsx.access")

_REQUESTS = Counter("dsx_http_requests", "Completed requests.", ["method", "operation", "status"])
_SECONDS = Histogram(
    "dsx_http_request_seconds",
    "Time from the request's header to the last byte of the response.",
    ["operation"],
    buckets=(0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 60, 600, 3600),
)
_ACTIVE = Gauge("dsx_http_requests_active", "Requests in progress.", multiprocess_mode="livesum")
_LATEST: Literal["mostrecent"] = "mostrecent"
_ROOM = Gauge(
    "dsx_storage_free_bytes",
    "Free space for uploads, excluding the reserve.",
    multiprocess_mode=_LATEST,
)
_FREE = Gauge(
    "dsx_catalog_free_bytes",
    "Free space on the catalog's disk, excluding the reserve.",
    multiprocess_mode=_LATEST,
)
_FILES = Gauge(
    "dsx_catalog_free_inodes",
    "Free inodes on the catalog's disk.",
    multiprocess_mode=_LATEST,
)
_RESERVE = Gauge(
    "dsx_reserve_bytes",
    "Space held back so that deleting works on a full disk; 0: in use.",
    multiprocess_mode=_LATEST,
)
_DAMAGED = Gauge(
    "dsx_blobs_damaged", "Damaged blobs that are not repaired yet.", multiprocess_mode=_LATEST
)
_SCRUBBED = Gauge(
    "dsx_scrub_checked_ratio",
    "Share of the stored bytes checked by the current scrub cycle.",
    ["kind"],
    multiprocess_mode=_LATEST,
)
_SCRUB_FOUND = Gauge(
    "dsx_scrub_found",
    "Damaged items found by the current scrub cycle.",
    ["kind"],
    multiprocess_mode=_LATEST,
)
_SCRUB_ENDED = Gauge(
    "dsx_scrub_last_end_timestamp_seconds",
    "End of the last complete scrub cycle; 0: none.",
    ["kind"],
    multiprocess_mode=_LATEST,
)
_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


def exposition() -> bytes:
    """All metrics in Prometheus' text format, summed over worker processes."""
    registry: CollectorRegistry = REGISTRY
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)


async def refresh(hub: Hub) -> None:
    """Update the gauges read from the hub; one that cannot be read keeps its value."""
    with contextlib.suppress(DSXError):
        if (room := await hub.integrity.room()) is not None:
            _ROOM.set(max(0, room))
        if hub.integrity.reserve is not None:
            free, files = await asyncio.to_thread(hub.integrity.reserve.free)
            _FREE.set(max(0, free))
            _FILES.set(files)
            _RESERVE.set(hub.integrity.reserve.held)
    with contextlib.suppress(DSXError):
        _DAMAGED.set(await hub.integrity.scrub.damaged())
        for status in await hub.integrity.scrub.progress():
            cycle, last = status.cycle, status.cycle.last or {}
            share = min(1.0, cycle.checked_bytes / status.total_bytes) if status.total_bytes else 1
            _SCRUBBED.labels(status.name).set(share if cycle.ended is None else 1)
            _SCRUB_FOUND.labels(status.name).set(cycle.found)
            _SCRUB_ENDED.labels(status.name).set(last.get("ended", 0) / SECOND)


class Observe:
    """ASGI middleware: counts, times and logs every request. Never logs headers or queries."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and record its outcome; status 0: no response was sent."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status = 0

        async def observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        begun = time.perf_counter()
        _ACTIVE.inc()
        try:
            await self.app(scope, receive, observed)
        finally:
            _ACTIVE.dec()
            seconds = time.perf_counter() - begun
            method = scope["method"] if scope["method"] in _METHODS else "OTHER"
            operation = getattr(scope.get("endpoint"), "__name__", "unmatched")
            _REQUESTS.labels(method, operation, status).inc()
            _SECONDS.labels(operation).observe(seconds)
            log.info(
                "request",
                method=method,
                path=shown_path(scope["path"], scope.get("root_path", "")),
                status=status,
                ms=round(seconds * 1000, 1),
            )
