"""The API documentation, ``/docs`` and ``/redoc``, with local assets instead of a CDN."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path

import fastapi_offline
from fastapi import FastAPI, Request
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles

from dsx.http.parameters import LenientRoute
from dsx.http.prefix_router import PrefixRouter
from dsx.http.public import path_of

router = PrefixRouter(route_class=LenientRoute, include_in_schema=False)

_ASSETS = "/docs/assets"
_TITLE = "DSX Hub"
_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)


@router.get("/docs")
async def swagger(request: Request) -> HTMLResponse:
    """Swagger UI."""
    return _guarded(
        get_swagger_ui_html(
            openapi_url=path_of(request, "/openapi.json"),
            title=f"{_TITLE} - Swagger UI",
            swagger_js_url=path_of(request, f"{_ASSETS}/swagger-ui-bundle.js"),
            swagger_css_url=path_of(request, f"{_ASSETS}/swagger-ui.css"),
            swagger_favicon_url=path_of(request, f"{_ASSETS}/favicon.png"),
        )
    )


@router.get("/redoc")
async def redoc(request: Request) -> HTMLResponse:
    """ReDoc."""
    return _guarded(
        get_redoc_html(
            openapi_url=path_of(request, "/openapi.json"),
            title=f"{_TITLE} - ReDoc",
            redoc_js_url=path_of(request, f"{_ASSETS}/redoc.standalone.js"),
            redoc_favicon_url=path_of(request, f"{_ASSETS}/favicon.png"),
            with_google_fonts=False,
        )
    )


def include(app: FastAPI) -> None:
    """Add the pages, their assets and the schema, which is encoded once, to *app*."""
    app.include_router(router)
    app.router.routes[:] = [
        route for route in app.router.routes if getattr(route, "path", "") != app.openapi_url
    ]
    app.add_route("/openapi.json", _Schema(app).answer, include_in_schema=False)
    assets = Path(fastapi_offline.__file__).parent / "static"
    app.mount(_ASSETS, StaticFiles(directory=assets), name="api-docs")


def _guarded(page: HTMLResponse) -> HTMLResponse:
    """Restrict *page* to its own scripts and forbid framing."""
    scripts = _SCRIPT.findall(bytes(page.body).decode())
    digests = [hashlib.sha256(script.encode()).digest() for script in scripts]
    own = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    page.headers["Content-Security-Policy"] = (
        f"default-src 'none'; script-src 'self' {own}; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data:; font-src 'self' data:; connect-src 'self'; worker-src blob:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    page.headers["X-Frame-Options"] = "DENY"
    return page


class _Schema:
    """``/openapi.json``, cached as bytes for the first few root paths."""

    _MOST = 8

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self._known: dict[str, bytes] = {}

    async def answer(self, request: Request) -> Response:
        """Return the schema."""
        root = request.scope.get("root_path", "").rstrip("/")
        body = self._known.get(root)
        if body is None:
            schema = self._app.openapi()
            if root:
                schema = schema | {"servers": [{"url": root}]}
            body = json.dumps(schema, ensure_ascii=False, separators=(",", ":")).encode()
            if len(self._known) < self._MOST:
                self._known[root] = body
        return Response(body, media_type="application/json")
