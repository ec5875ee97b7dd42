"""Monitoring: ``/health``, ``/ready``, ``/metrics``."""

from __future__ import annotations

from starlette.responses import Response

from dsx.http import metrics
from dsx.http.credentials import HubDep
from dsx.http.parameters import LenientRoute
from dsx.http.prefix_router import PrefixRouter
from dsx.http.problems import documented

router = PrefixRouter(route_class=LenientRoute, tags=["system"], responses=documented(405))


@router.get("/health", summary="Is the process alive?")
async def health() -> dict[str, str]:
    """Respond as long as the process runs."""
    return {"status": "ok"}


@router.get("/ready", summary="Can it serve?", responses=documented(503))
async def ready(hub: HubDep) -> dict[str, str]:
    """Check the catalog and the blob store; 503 if either is unavailable.

    With `"storage": "full"` uploads are refused (507); reading, deleting and signing in work.
    """
    await hub.check()
    return {"status": "ready", "storage": "full" if await hub.integrity.is_full() else "ok"}


@router.get(
    "/metrics",
    summary="Metrics for Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def prometheus(hub: HubDep) -> Response:
    """Return the metrics of all worker processes together, and the scrub's progress."""
    await metrics.refresh(hub)
    return Response(metrics.exposition(), media_type=metrics.CONTENT_TYPE)
