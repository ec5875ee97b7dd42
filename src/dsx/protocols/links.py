"""``/s/<link>``: what a share link opens, for whoever has it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import Path, Request
from starlette.responses import Response

from dsx.core.model import FileQuery
from dsx.core.principals import Principal, Share
from dsx.http.branches import Branch
from dsx.http.credentials import HubDep, address_of, credential_of
from dsx.http.manifest import manifest_response
from dsx.http.parameters import LenientRoute
from dsx.http.problems import documented
from dsx.http.send import DOWNLOADS, ContentResponse
from dsx.hub.archive import MAX_ENTRIES, archive
from dsx.hub.services import Hub

_QUIET = {"Referrer-Policy": "no-referrer", "X-Robots-Tag": "noindex"}


class LinkRoute(LenientRoute):
    """A route whose address is a secret: its answers, failures included, pass that on to nobody."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, with the header fields that say so."""
        handle = super().get_route_handler()

        async def handler(request: Request) -> Response:
            request.state.headers = _QUIET | {"Cache-Control": "no-store"}
            response = await handle(request)
            response.headers.update(_QUIET)
            if getattr(request.state, "restricted", False):
                response.headers["Cache-Control"] = "no-store"
            return response

        return handler


router = Branch(
    prefix="/s",
    route_class=LinkRoute,
    tags=["shares"],
    responses=DOWNLOADS | documented(400, 401, 403, 404, 405, 410, 412, 413, 416, 422, 429, 503),
)
LinkSecret = Annotated[str, Path(description="The link's secret.", max_length=128)]


@router.get(
    "/{link}", operation_id="open_link", summary="Use a share link", response_class=Response
)
@router.head(
    "/{link}", operation_id="open_link_head", summary="Ask about a link", response_class=Response
)
async def open_link(link: LinkSecret, request: Request, hub: HubDep) -> Response:
    """A file: its bytes. A category or a prefix: a ZIP. A dataset: its manifest, as JSON.

    A password is sent as Basic, with any user name. Each GET is one download.
    """
    share, guest = await _opened(request, hub, link)
    if share.place.kind == "dataset":
        return await manifest_response(request, hub.datasets, guest, share.place.value)
    if share.place.kind == "file":
        newest = await hub.files.versions(guest, share.place.value)
        return ContentResponse(request, await hub.files.content(guest, newest[0].id))
    versions = []
    async for version in hub.files.every(guest, FileQuery(sort="name")):
        versions.append(version)
        if len(versions) > MAX_ENTRIES:
            break  # which `archive` refuses
    return ContentResponse(request, await archive(versions, hub.blobs))


@router.get(
    "/{link}/{path:path}",
    operation_id="open_link_file",
    summary="Use a share link for one file",
    response_class=Response,
)
@router.head(
    "/{link}/{path:path}",
    operation_id="open_link_file_head",
    summary="Ask about a file of a link",
    response_class=Response,
)
async def open_link_file(
    link: LinkSecret, path: str, request: Request, hub: HubDep
) -> ContentResponse:
    """One file, by its name or its path in the dataset. Each GET is one download."""
    share, guest = await _opened(request, hub, link)
    if share.place.kind == "dataset":
        return ContentResponse(request, await hub.datasets.content(guest, share.place.value, path))
    version = await hub.files.named(guest, path)
    return ContentResponse(request, await hub.files.content(guest, version.id))


async def _opened(request: Request, hub: Hub, link: str) -> tuple[Share, Principal]:
    credential = credential_of(request)
    password = None if credential is None or credential.cookie else credential.secret
    counts = request.method == "GET"
    share, guest = await hub.shares.open(link, password, address=address_of(request), counts=counts)
    request.state.restricted = share.password is not None or share.downloads is not None
    return share, guest
