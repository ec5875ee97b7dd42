"""The dialect of the DSX Hub seed: ``/datasets``, ``/manifest/<dataset>``, ``/file/<dataset>/…``.

Paths, methods and the bare JSON lists are that system's. `hash` is the MD5 of the first 1024
bytes; newer fields are added.
"""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import Request
from starlette.responses import Response

from dsx.http.credentials import HubDep, PrincipalDep
from dsx.http.manifest import manifest_response
from dsx.http.parameters import LenientRoute
from dsx.http.prefix_router import PrefixRouter
from dsx.http.problems import documented
from dsx.http.send import DOWNLOADS, ContentResponse

router = PrefixRouter(
    route_class=LenientRoute,
    tags=["dialect: dsx"],
    responses=documented(401, 403, 405, 422, 429, 503),
)


@router.get("/datasets", operation_id="dsx_datasets", summary="List dataset names")
async def datasets(hub: HubDep, principal: PrincipalDep) -> Sequence[str]:
    """Return the names of all datasets, sorted."""
    return await hub.datasets.names(principal)


@router.get(
    "/manifest/{dataset}",
    operation_id="dsx_manifest",
    summary="List a dataset's files",
    response_class=Response,
    responses={
        200: {"content": {"application/json": {"schema": {"type": "array"}}}},
        304: {"description": "Your copy is current (If-None-Match)."},
        **documented(400, 404),
    },
)
async def manifest(
    request: Request, dataset: str, hub: HubDep, principal: PrincipalDep
) -> Response:
    """Stream one entry per file: path, size, hash, sha256, etag, mtime."""
    return await manifest_response(request, hub.datasets, principal, dataset)


@router.get(
    "/file/{dataset}/{path:path}",
    operation_id="dsx_file",
    summary="Download a file",
    response_class=Response,
    responses=DOWNLOADS | documented(400, 404, 412, 416),
)
@router.head(
    "/file/{dataset}/{path:path}",
    operation_id="dsx_file_head",
    summary="Read a file's headers",
    response_class=Response,
    responses=DOWNLOADS | documented(400, 404, 412, 416),
)
async def file(
    request: Request, dataset: str, path: str, hub: HubDep, principal: PrincipalDep
) -> ContentResponse:
    """Return the file's bytes, whole or in ranges."""
    return ContentResponse(request, await hub.datasets.content(principal, dataset, path))
