"""Resumable Uploads for HTTP (draft-ietf-httpbis-resumable-upload), interop versions 5 to 8.

On the same resource as tus: a request uses this protocol if it carries a supported interop version
or, without any, ``Upload-Complete``. Section names in comments are those of the draft.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from fastapi import Request, Response
from starlette.responses import JSONResponse
from starlette.routing import Match
from starlette.types import Scope

from dsx.core.digest import from_repr_digest
from dsx.core.errors import DSXError, Invalid, OffsetMismatch, TooLarge
from dsx.core.model import FileVersion
from dsx.core.principals import Principal
from dsx.core.transfers import NewUpload, Upload
from dsx.http.conditions import only_if_absent
from dsx.http.credentials import HubDep, PrincipalDep
from dsx.http.parameters import LenientRoute
from dsx.http.prefix_router import PrefixRouter
from dsx.http.problems import MEDIA_TYPE, note_refusal, render
from dsx.http.public import path_of
from dsx.http.receive import announced, interim, pump
from dsx.http.upload_headers import UPLOADS, described, location, number, told_filename
from dsx.hub.clock import SECOND, now
from dsx.hub.hub import Hub
from dsx.hub.transfers.append_request import AppendRequest

NEWEST = 8
VERSIONS = {str(version) for version in range(5, NEWEST + 1)}
_TYPED = {"6", "7", "8"}  # from interop version 6 on, PATCH has a media type of its own
PARTIAL_TYPE = "application/partial-upload"
_PROBLEMS = "https://iana.org/assignments/http-problem-types#"
_VERSION_HEADER = "upload-draft-interop-version"


class ResumableRoute(LenientRoute):
    """A route that matches only requests of this protocol."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match by the header fields."""
        if scope["type"] != "http" or not _speaks(dict(scope["headers"])):
            return Match.NONE, {}
        return super().matches(scope)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, with failures rendered as the draft's problem types."""
        handle = super().get_route_handler()

        async def handler(request: Request) -> Response:
            try:
                response = await handle(request)
            except DSXError as error:
                note_refusal(request, error)
                response = _problem(error)
            version = request.headers.get(_VERSION_HEADER)
            if version is not None:
                response.headers[_VERSION_HEADER] = version
            return response

        return handler


router = PrefixRouter(prefix=UPLOADS, route_class=ResumableRoute, include_in_schema=False)


@router.options("")
@router.options("/{id}")
async def describe(hub: HubDep) -> Response:
    """Return the limits (Limits)."""
    return Response(status_code=204, headers={"Accept-Patch": PARTIAL_TYPE} | _limits(hub, None))


@router.post("")
@router.put("")
async def create(request: Request, hub: HubDep, principal: PrincipalDep) -> Response:
    """Begin an upload, with its first bytes or all of them (Upload Creation)."""
    last = _complete(request)
    size = announced(request)
    length = number(request.headers, "Upload-Length")
    told = size if last and size is not None else length
    if length is not None and told != length:
        raise _inconsistent("Content-Length and Upload-Length are inconsistent.")
    upload = await hub.transfers.uploads.create(principal, _new_upload(request, told))
    headers = {"Location": location(request, upload.id)} | _limits(hub, upload)
    findable = size != 0 and _VERSION_HEADER in request.headers  # such a client understands 104
    findable = findable and await interim(request, 104, headers)
    addition = AppendRequest(0, size=size, last=last)
    try:
        upload = await hub.transfers.uploads.append(
            principal, upload.id, partial(pump, request), addition, finish=False
        )
        return await _answer(request, hub, principal, upload, headers, last=last, status=201)
    except DSXError:
        if not findable:  # the client never received its URL, so it cannot resume
            with suppress(DSXError):
                await hub.transfers.uploads.abort(principal, upload.id)
        raise


@router.head("/{id}")
async def read(id: str, hub: HubDep, principal: PrincipalDep) -> Response:  # noqa: A002
    """Return the offset (Offset Retrieval), after ending requests that still write."""
    upload = await hub.transfers.uploads.take_over(principal, id)
    headers = {"Cache-Control": "no-store"} | _state(upload) | _limits(hub, upload)
    return Response(status_code=204, headers=headers)


@router.patch("/{id}")
async def append(id: str, request: Request, hub: HubDep, principal: PrincipalDep) -> Response:  # noqa: A002
    """Append bytes at the upload's offset (Upload Append)."""
    typed = request.headers.get(_VERSION_HEADER, str(NEWEST)) in _TYPED
    if typed and request.headers.get("content-type") != PARTIAL_TYPE:
        return Response(f"The Content-Type of PATCH must be {PARTIAL_TYPE}.", 415)
    offset = number(request.headers, "Upload-Offset")
    if offset is None:
        raise Invalid("PATCH needs Upload-Offset.")
    last = _complete(request)
    addition = AppendRequest(
        offset,
        size=announced(request),
        length=number(request.headers, "Upload-Length"),
        last=last,
    )
    before = await hub.transfers.uploads.get(principal, id, "write")
    if before.state == "finished" and addition.size != 0:
        raise _inconsistent("The upload is already complete.")
    try:
        upload = await hub.transfers.uploads.append(
            principal, id, partial(pump, request), addition, finish=False
        )
    except TooLarge:
        if before.length is not None:  # Upload Append: "marking the upload resource invalid"
            await hub.transfers.uploads.abort(principal, id)
        raise
    return await _answer(
        request, hub, principal, upload, _limits(hub, upload), last=last, status=204
    )


@router.delete("/{id}")
async def cancel(id: str, hub: HubDep, principal: PrincipalDep) -> Response:  # noqa: A002
    """Drop the upload (Upload Cancellation); the file of a finished one stays."""
    await hub.transfers.uploads.abort(principal, id)
    return Response(status_code=204)


async def _answer(
    request: Request,
    hub: Hub,
    principal: Principal,
    upload: Upload,
    headers: Mapping[str, str],
    *,
    last: bool,
    status: int,
) -> Response:
    if not last:
        return Response(status_code=status, headers={**headers, **_state(upload)})
    version = await hub.transfers.uploads.finish(principal, upload.id)
    upload = await hub.transfers.uploads.get(principal, upload.id, "write")
    return _made(request, version, {**headers, **_state(upload)})


def _made(request: Request, version: FileVersion | None, headers: Mapping[str, str]) -> Response:
    if version is None:
        return Response(status_code=204, headers=dict(headers))
    body = {
        "id": version.id,
        "number": version.number,
        "name": version.name,
        "size": version.size,
        "sha256": version.sha256,
    }
    place = path_of(request, f"/api/v1/files/{version.id}")
    return JSONResponse(body, 201, {**headers, "Location": place})


def _new_upload(request: Request, length: int | None) -> NewUpload:
    """Take the file's fields from the creating request's representation metadata.

    ``Upload-Metadata`` of clients that support tus as well is accepted, too.
    """
    said = described(request.headers.get("upload-metadata", ""))
    name = request.query_params.get("name") or told_filename(request.headers)
    digest = request.headers.get("repr-digest")
    expected = from_repr_digest(digest) if digest else None
    return replace(
        said,
        name=name or said.name,
        length=length,
        category=request.query_params.get("category") or said.category,
        content_type=_content_type(request) or said.content_type,
        tags=(*request.query_params.getlist("tag"), *said.tags),
        expected={"sha256": expected} if expected else said.expected,
        only_if_absent=only_if_absent(request.headers),
    )


def _content_type(request: Request) -> str | None:
    """The file's content type; `PARTIAL_TYPE` is not one."""
    given = request.headers.get("content-type")
    return None if given == PARTIAL_TYPE else given


def _speaks(headers: Mapping[bytes, bytes]) -> bool:
    version = headers.get(_VERSION_HEADER.encode())
    if version is not None:
        return version.decode("latin-1") in VERSIONS
    return b"upload-complete" in headers and b"tus-resumable" not in headers


def _complete(request: Request) -> bool:
    value = request.headers.get("upload-complete")
    if value not in {"?0", "?1"}:
        raise Invalid("Upload-Complete must be ?1, or ?0 if more bytes follow.")
    return value == "?1"


def _state(upload: Upload) -> dict[str, str]:
    headers = {
        "Upload-Offset": str(upload.offset),
        "Upload-Complete": "?1" if upload.state == "finished" else "?0",
    }
    if upload.length is not None:
        headers["Upload-Length"] = str(upload.length)
    return headers


def _limits(hub: Hub, upload: Upload | None) -> dict[str, str]:
    limits = []
    if hub.transfers.uploads.limits.file_size is not None:
        limits.append(f"max-size={hub.transfers.uploads.limits.file_size}")
    if upload is not None and upload.state == "open":
        limits.append(f"max-age={max(0, (upload.expires - now()) // SECOND)}")
    else:
        limits.append("min-size=0")
    return {"Upload-Limit": ", ".join(limits)}


class _Inconsistent(Invalid):
    """Inconsistent lengths."""


def _inconsistent(message: str) -> Invalid:
    return _Inconsistent(message)


def _problem(error: DSXError) -> Response:
    """Render *error* as the draft's problem type if it has one (Problem Types), else as ours."""
    if isinstance(error, OffsetMismatch):
        expected, provided = error.details["expected_offset"], error.details["offset"]
        facts = {"expected-offset": expected, "provided-offset": provided}
        headers = {"Upload-Offset": str(expected), "Upload-Complete": "?0"}
        return _typed("mismatching-upload-offset", error, 409, facts, headers)
    if isinstance(error, _Inconsistent) or "told" in error.details:
        return _typed("inconsistent-upload-length", error, 400, {}, {})
    response = render(error)
    if isinstance(error, TooLarge) and "limit" in error.details:
        response.headers["Upload-Limit"] = f"max-size={error.details['limit']}"
    return response


def _typed(
    name: str, error: DSXError, status: int, facts: Mapping[str, Any], headers: Mapping[str, str]
) -> Response:
    body = {"type": f"{_PROBLEMS}{name}", "title": name, "status": status, "detail": error.message}
    return JSONResponse({**body, **facts}, status, dict(headers), MEDIA_TYPE)
