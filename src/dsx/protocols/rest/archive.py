"""``/api/v1/archive``: several files as one ZIP."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Request
from starlette.responses import Response

from dsx.core.principals import Principal
from dsx.http.credentials import HubDep, PrincipalDep
from dsx.http.prefix_router import PrefixRouter
from dsx.http.presence import present
from dsx.http.problems import documented
from dsx.http.send import DOWNLOADS, ContentResponse
from dsx.hub.files.archive import archive
from dsx.hub.hub import Hub
from dsx.protocols.rest.models import ArchiveRequest

router = PrefixRouter(prefix="/archive", tags=["files"])

_RESPONSES = DOWNLOADS | documented(404, 409, 410, 412, 413, 416)


@router.get(
    "",
    operation_id="download_archive",
    summary="Download files as a ZIP",
    response_class=Response,
    responses=_RESPONSES,
)
@router.head(
    "",
    operation_id="download_archive_head",
    summary="Read a ZIP's headers",
    response_class=Response,
    responses=_RESPONSES,
)
async def download_archive(
    request: Request,
    hub: HubDep,
    principal: PrincipalDep,
    id: Annotated[list[str], Query(min_length=1, max_length=1000, examples=[["1", "2"]])],  # noqa: A002
) -> ContentResponse:
    """Download files as a ZIP. Entries are uncompressed: the length is known, ranges resume."""
    return await _respond(request, hub, principal, id)


@router.post(
    "",
    operation_id="request_archive",
    summary="Download many files as a ZIP",
    response_class=Response,
    responses=_RESPONSES,
)
async def request_archive(
    request: Request, wanted: ArchiveRequest, hub: HubDep, principal: PrincipalDep
) -> ContentResponse:
    """Download files as a ZIP, with more ids than fit into a URL."""
    return await _respond(request, hub, principal, [str(id_) for id_ in wanted.ids])


async def _respond(
    request: Request, hub: Hub, principal: Principal, ids: list[str]
) -> ContentResponse:
    here = present(request)
    versions = await hub.files.get_many(principal, ids, here)
    return ContentResponse(request, await archive(versions, hub.files, here))
