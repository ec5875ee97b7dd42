"""``/``: what somebody sees who opens the hub in a browser."""

from __future__ import annotations

from fastapi import Request
from starlette.responses import HTMLResponse

from dsx import __version__
from dsx.http.parameters import LenientRoute
from dsx.http.prefix_router import PrefixRouter
from dsx.http.public import path_of

router = PrefixRouter(route_class=LenientRoute, include_in_schema=False)

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'"
_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>DSX Hub</title>
<style>
body {{ font: 1rem/1.6 system-ui, sans-serif; max-width: 34rem; margin: 4rem auto }}
</style>
<h1>DSX Hub {version}</h1>
<p>A file and dataset server, for the <code>dsx</code> command, for Python, and over HTTP:</p>
<ul>
<li><a href="{docs}">Interactive API documentation</a></li>
<li><a href="{redoc}">API reference</a></li>
<li><a href="{schema}">OpenAPI document</a></li>
</ul>
</html>
"""


@router.get("/")
async def home(request: Request) -> HTMLResponse:
    """A small page with the version and links."""
    links = {"docs": "/docs", "redoc": "/redoc", "schema": "/openapi.json"}
    paths = {name: path_of(request, path) for name, path in links.items()}
    page = HTMLResponse(_PAGE.format(version=__version__, **paths))
    page.headers["Content-Security-Policy"] = _POLICY
    page.headers["X-Frame-Options"] = "DENY"
    return page
