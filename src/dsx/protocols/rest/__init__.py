"""The public REST API, ``/api/v1``: what the SDK, the CLI and the web page use."""

from fastapi import APIRouter

from dsx.http.problems import documented
from dsx.protocols.rest import (
    accounts,
    archive,
    datasets,
    files,
    oidc,
    shares,
    tasks,
    tokens,
    trash,
    uploads,
)

router = APIRouter(prefix="/api/v1", responses=documented(400, 401, 403, 405, 422, 429, 503))
for part in (files, uploads, tasks, trash, archive, datasets, shares, accounts, tokens, oidc):
    router.include_router(part.router)
