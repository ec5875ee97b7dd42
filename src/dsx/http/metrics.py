"""What is measured of HTTP, for Prometheus; and the middleware that measures and logs it."""

from __future__ import annotations

import os
import time

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

from dsx.http.redaction import shown_path

CONTENT_TYPE = CONTENT_TYPE_LATEST
log = structlog.get_logger("dsx.access")

_REQUESTS = Counter("dsx_http_requests", "Requests answered.", ["method", "operation", "status"])
_SECONDS = Histogram(
    "dsx_http_request_seconds",
    "From the request's head to the last byte of the answer.",
    ["operation"],
    buckets=(0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 60, 600, 3600),
)
_ACTIVE = Gauge("dsx_http_requests_active", "Requests being answered.", multiprocess_mode="livesum")
_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


def exposition() -> bytes:
    """All metrics in Prometheus' text format, summed over worker processes."""
    registry: CollectorRegistry = REGISTRY
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)


class Observe:
    """ASGI middleware: counts, times and logs every request. Never logs headers or queries."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and note how it ended; status 0: it was never answered."""
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
