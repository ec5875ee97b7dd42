"""What operators ask: ``/health``, ``/ready``, ``/metrics``, and the API's own pages."""

from __future__ import annotations

from pathlib import Path

import fastapi_offline
from fastapi import FastAPI
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles

from dsx.http import metrics
from dsx.http.branches import Branch
from dsx.http.credentials import HubDep
from dsx.http.parameters import LenientRoute
from dsx.http.problems import documented

router = Branch(route_class=LenientRoute, tags=["system"], responses=documented(405))

_ASSETS = "/docs/assets"


@router.get("/health", summary="Is the process alive?")
async def health() -> dict[str, str]:
    """Answers as long as the process can answer at all."""
    return {"status": "ok"}


@router.get("/ready", summary="Can it serve?", responses=documented(503))
async def ready(hub: HubDep) -> dict[str, str]:
    """Asks the catalog and the blob store; 503 if either does not answer."""
    await hub.check()
    return {"status": "ready"}


@router.get(
    "/metrics",
    summary="Metrics for Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def prometheus(hub: HubDep) -> Response:
    """Requests and durations of all worker processes together; how far the scrub is."""
    await metrics.refresh(hub)
    return Response(metrics.exposition(), media_type=metrics.CONTENT_TYPE)


def add_docs(app: FastAPI) -> None:
    """Serve Swagger UI at ``/docs`` and ReDoc at ``/redoc``, assets included: no CDN is asked."""
    assets = Path(fastapi_offline.__file__).parent / "static"

    @app.get("/docs", include_in_schema=False)
    async def swagger() -> HTMLResponse:
        return get_swagger_ui_html(
            openapi_url="/openapi.json",
            title=f"{app.title} - Swagger UI",
            swagger_js_url=f"{_ASSETS}/swagger-ui-bundle.js",
            swagger_css_url=f"{_ASSETS}/swagger-ui.css",
            swagger_favicon_url=f"{_ASSETS}/favicon.png",
        )

    @app.get("/redoc", include_in_schema=False)
    async def redoc() -> HTMLResponse:
        return get_redoc_html(
            openapi_url="/openapi.json",
            title=f"{app.title} - ReDoc",
            redoc_js_url=f"{_ASSETS}/redoc.standalone.js",
            redoc_favicon_url=f"{_ASSETS}/favicon.png",
            with_google_fonts=False,
        )

    app.mount(_ASSETS, StaticFiles(directory=assets), name="api-docs")
