"""Monitoring: ``/health``, ``/ready``, ``/metrics``."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field
from starlette.responses import Response

from dsx import __version__
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


class Readiness(BaseModel):
    """A hub that can serve."""

    status: Literal["ready"] = "ready"
    storage: Literal["ok", "full"] = Field(
        description="`full`: uploads get 507; reading, deleting and signing in work."
    )
    free: int | None = Field(description="Bytes that uploads may still take; null: unknown.")
    version: str = Field(description="The hub's version.")


@router.get("/ready", summary="Can it serve?", responses=documented(503))
async def ready(hub: HubDep) -> Readiness:
    """Check the catalog and the blob store; 503 if either is unavailable."""
    await hub.check()
    full, room = await hub.integrity.is_full(), await hub.integrity.room()
    free = None if room is None else max(0, room)
    return Readiness(storage="full" if full else "ok", free=free, version=__version__)


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
