"""``/s/<link>``: share links, open to anyone who has one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import Path, Request
from starlette.responses import Response

from dsx.core.asking import asked_by
from dsx.core.content import Content
from dsx.core.model import FileQuery
from dsx.core.principals import Principal, Share
from dsx.core.ranges import ByteRange
from dsx.http.counted import CountedResponse
from dsx.http.credentials import (
    Cookie,
    HubDep,
    address_of,
    credential_of,
    device_shown,
    keep_cookie,
    keep_device,
)
from dsx.http.manifest import manifest_response
from dsx.http.parameters import LenientRoute
from dsx.http.prefix_router import PrefixRouter
from dsx.http.presence import present
from dsx.http.problems import documented
from dsx.http.send import DOWNLOADS, ContentResponse
from dsx.hub.accounts.link_downloads import WINDOW, Recipient, Wanted
from dsx.hub.clock import SECOND
from dsx.hub.files.archive import MAX_ENTRIES, archive
from dsx.hub.hub import Hub

_SENDS = {200, 206}
_QUIET = {"Referrer-Policy": "no-referrer", "X-Robots-Tag": "noindex"}


class LinkRoute(LenientRoute):
    """A route with a secret URL, which its responses, failures included, keep out of referrers."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, with those header fields added."""
        handle = super().get_route_handler()

        async def handler(request: Request) -> Response:
            request.state.headers = _QUIET | {"Cache-Control": "no-store"}
            response = await handle(request)
            response.headers.update(_QUIET)
            subject = getattr(request.state, "opened", None)
            if subject is not None:
                keep_device(request, response, request.app.state.hub, subject)
            if getattr(request.state, "restricted", False):
                response.headers["Cache-Control"] = "no-store"
            return response

        return handler


router = PrefixRouter(
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
    "/{link}",
    operation_id="open_link_head",
    summary="Read a link's headers",
    response_class=Response,
)
async def open_link(link: LinkSecret, request: Request, hub: HubDep) -> Response:
    """Return a file's bytes, a category or prefix as a ZIP, or a dataset's manifest as JSON.

    Send a password as Basic, with any user name. A download limit counts complete downloads:
    ranges and continuations after a break count once within a day.
    """
    share, guest = await _opened(request, hub, link)
    if share.place.kind == "dataset":
        manifest = await manifest_response(request, hub.datasets, guest, share.place.value)
        etag = manifest.headers.get("etag", "")
        return await _counted(request, hub, share, manifest, Wanted(etag, 0, [ByteRange(0, 0)]))
    if share.place.kind == "file":
        (newest,) = (await hub.files.versions(guest, share.place.value, limit=1)).items
        return await _sent(request, hub, share, await hub.files.content(guest, newest.id))
    versions = []
    async for version in hub.files.every(guest, FileQuery(sort="name"), present(request)):
        versions.append(replace(version, metadata={}))  # of thousands of files it is large
        if len(versions) > MAX_ENTRIES:
            break  # `archive` refuses so many
    return await _sent(request, hub, share, await archive(versions, hub.files, present(request)))


@router.get(
    "/{link}/{path:path}",
    operation_id="open_link_file",
    summary="Use a share link for one file",
    response_class=Response,
)
@router.head(
    "/{link}/{path:path}",
    operation_id="open_link_file_head",
    summary="Read the headers of a link's file",
    response_class=Response,
)
async def open_link_file(link: LinkSecret, path: str, request: Request, hub: HubDep) -> Response:
    """Return one file, by its name or its path in the dataset; it counts as a download."""
    share, guest = await _opened(request, hub, link)
    if share.place.kind == "dataset":
        content = await hub.datasets.content(guest, share.place.value, path)
    else:
        content = await hub.files.content(guest, (await hub.files.find(guest, path)).id)
    return await _sent(request, hub, share, content)


async def _opened(request: Request, hub: Hub, link: str) -> tuple[Share, Principal]:
    credential = credential_of(request)
    password = None if credential is None or credential.cookie else credential.secret
    share, guest = await hub.accounts.shares.open(
        link,
        password,
        _recipient(request),
        reads=request.method == "GET",
        device=device_shown(request),
    )
    asked_by(guest.id)
    request.state.restricted = share.password is not None or share.downloads is not None
    if share.password is not None:
        request.state.opened = share.id
    return share, guest


async def _sent(request: Request, hub: Hub, share: Share, content: Content) -> Response:
    """The response for *content*, counted if it sends any bytes."""
    response = ContentResponse(request, content)
    wanted = Wanted(content.etag, content.size, response.ranges)
    if not wanted.bytes:
        return response
    return await _counted(request, hub, share, response, wanted)


async def _counted(
    request: Request, hub: Hub, share: Share, response: Response, wanted: Wanted
) -> Response:
    """Count *response* as (part of) a download, unless it sends nothing."""
    if request.method != "GET" or response.status_code not in _SENDS:
        return response
    wanted = replace(wanted, item=f"{request.url.path} {wanted.item}")
    running = await hub.accounts.shares.count(share, _recipient(request), wanted)
    if running is None:
        return response
    counted = CountedResponse(response, running)
    path = quote(request.url.path)
    cookie = Cookie(_cookie(request), running.id, WINDOW // SECOND, path)
    keep_cookie(request, counted, cookie)
    return counted


def _recipient(request: Request) -> Recipient:
    shown = request.cookies.get(_cookie(request), "")
    return Recipient(address_of(request), request.headers.get("user-agent", ""), shown)


def _cookie(request: Request) -> str:
    """Name of the download cookie, one per path: browsers send a link's with its files, too."""
    path = request.url.path.encode("utf-8", "surrogatepass")
    return f"dsx_download_{hashlib.sha256(path).hexdigest()[:12]}"
