"""The public REST API, ``/api/v1``: what the SDK, the CLI and the web page use."""

from dsx.http.branches import Branch
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

router = Branch(prefix="/api/v1", responses=documented(400, 401, 403, 405, 422, 429, 503))
for part in (accounts, files, uploads, tasks, trash, archive, datasets, shares, tokens, oidc):
    router.include_router(part.router)
