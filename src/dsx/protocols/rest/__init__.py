"""The public REST API, ``/api/v1``: what the SDK, the CLI and the web page use."""

from fastapi import FastAPI

from dsx.http.problems import documented
from dsx.protocols.rest import (
    accounts,
    archive,
    datasets,
    files,
    oidc,
    scrub,
    shares,
    tasks,
    tokens,
    trash,
    uploads,
)

PREFIX = "/api/v1"
RESPONSES = documented(400, 401, 403, 405, 422, 429, 503)
PARTS = (files, uploads, tasks, trash, archive, datasets, accounts, tokens, oidc, shares, scrub)


def include(app: FastAPI) -> None:
    """Add the routes to *app*, router by router: a nested router would match each path twice."""
    for part in PARTS:
        app.include_router(part.router, prefix=PREFIX, responses=RESPONSES)
