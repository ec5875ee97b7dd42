"""tus 1.0.0 with all its extensions: https://tus.io/protocols/resumable-upload.

Section names in comments are those of the protocol's text.
"""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from fastapi import Request, Response
from starlette.routing import Match
from starlette.types import Scope

from dsx.core.errors import DSXError, Invalid, NotFound, OffsetMismatch, PartCorrupt, Paused
from dsx.core.principals import Principal
from dsx.core.transfers import ALGORITHMS, NewUpload, PartDigest, Upload, UploadKind
from dsx.http.conditions import http_date, only_if_absent
from dsx.http.credentials import HubDep, PrincipalDep
from dsx.http.parameters import LenientRoute
from dsx.http.prefix_router import PrefixRouter
from dsx.http.problems import note_refusal, render
from dsx.http.receive import announced, pump, trailer
from dsx.http.send import ContentResponse
from dsx.http.upload_headers import UPLOADS, described, location, named_upload, number
from dsx.hub.hub import Hub
from dsx.hub.transfers.append_request import AppendRequest, no_digest

VERSION = "1.0.0"
EXTENSIONS = (
    "creation,creation-with-upload,creation-defer-length,expiration,checksum,checksum-trailer,"
    "termination,concatenation,concatenation-unfinished"
)
CHUNK_TYPE = "application/offset+octet-stream"
_METADATA, _CONCAT = "Upload-Metadata", "Upload-Concat"
_NOTED = _METADATA, _CONCAT


class TusRoute(LenientRoute):
    """A route whose responses, failures included, carry ``Tus-Resumable``."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match, with ``X-HTTP-Method-Override`` as the method if it is present."""
        if scope["type"] != "http":
            return Match.NONE, {}
        headers = dict(scope["headers"])
        override = headers.get(b"x-http-method-override")
        if override is None:
            return super().matches(scope)
        method = override.decode("latin-1").upper()
        match, child = super().matches({**scope, "method": method})
        return match, {**child, "method": method}

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, wrapped in the checks and header fields of all requests."""
        handle = super().get_route_handler()

        async def handler(request: Request) -> Response:
            response = await _answer(request, handle)
            response.headers["Tus-Resumable"] = VERSION
            return response

        return handler


router = PrefixRouter(prefix=UPLOADS, route_class=TusRoute, include_in_schema=False)


@router.options("")
@router.options("/{id}")
async def describe(hub: HubDep) -> Response:
    """Return the server's capabilities (Core: OPTIONS)."""
    headers = {
        "Tus-Version": VERSION,
        "Tus-Extension": EXTENSIONS,
        "Tus-Checksum-Algorithm": ",".join(ALGORITHMS),
    }
    if hub.transfers.uploads.limits.file_size is not None:
        headers["Tus-Max-Size"] = str(hub.transfers.uploads.limits.file_size)
    return Response(status_code=204, headers=headers)


@router.post("")
async def create(request: Request, hub: HubDep, principal: PrincipalDep) -> Response:
    """Create an upload, with its first bytes if any (Creation, Creation With Upload)."""
    new = _new_upload(request)
    with_bytes = announced(request) != 0
    if with_bytes and request.headers.get("content-type") != CHUNK_TYPE:
        return _wrong_type()
    if with_bytes and new.kind == "final":
        raise Invalid("A final upload joins partial ones and takes no bytes.")
    addition = _addition(request, 0) if with_bytes else AppendRequest(0, size=0)
    upload = await hub.transfers.uploads.create(principal, new)
    headers = {"Location": location(request, upload.id)}
    if upload.kind != "final" and (with_bytes or upload.length == 0):
        upload = await _first_bytes(request, hub, principal, upload, addition)
        headers["Upload-Offset"] = str(upload.offset)
    return Response(status_code=201, headers=headers | _expiry(upload))


@router.head("/{id}")
async def read(id: str, hub: HubDep, principal: PrincipalDep) -> Response:  # noqa: A002
    """Return the offset (Core: HEAD), after ending requests that still write."""
    upload = await hub.transfers.uploads.take_over(principal, id)
    if upload.complete and upload.state == "open":  # a crash before the file was created
        with suppress(Paused):
            await hub.transfers.uploads.finish(principal, id, later=True)
        upload = await hub.transfers.uploads.get(principal, id, "write")
    headers = {"Cache-Control": "no-store"} | _expiry(upload)
    if upload.kind != "final" or upload.state == "finished":
        headers["Upload-Offset"] = str(upload.offset)
    if upload.length is None:
        headers["Upload-Defer-Length"] = "1"
    else:
        headers["Upload-Length"] = str(upload.length)
    return Response(status_code=200, headers=headers | dict(upload.notes))


@router.get("/{id}")
async def download(id: str, request: Request, hub: HubDep, principal: PrincipalDep) -> Response:  # noqa: A002
    """Return the file of a finished upload. Not part of tus, but clients request it."""
    version = await hub.transfers.uploads.version(
        principal, await hub.transfers.uploads.get(principal, id)
    )
    if version is None:
        raise NotFound("The upload is not finished yet.", {"id": id})
    return ContentResponse(request, await hub.files.content(principal, version.id))


@router.patch("/{id}")
async def append(id: str, request: Request, hub: HubDep, principal: PrincipalDep) -> Response:  # noqa: A002
    """Append bytes at the upload's offset (Core: PATCH)."""
    if request.headers.get("content-type") != CHUNK_TYPE:
        return _wrong_type()
    offset = number(request.headers, "Upload-Offset")
    if offset is None:
        raise Invalid("PATCH needs Upload-Offset.")
    addition = _addition(request, offset)
    addition = replace(addition, length=number(request.headers, "Upload-Length"))
    upload = await hub.transfers.uploads.append(principal, id, partial(pump, request), addition)
    headers = {"Upload-Offset": str(upload.offset)} | _expiry(upload)
    return Response(status_code=204, headers=headers)


@router.delete("/{id}")
async def terminate(id: str, hub: HubDep, principal: PrincipalDep) -> Response:  # noqa: A002
    """Drop the upload (Termination); the file of a finished one stays."""
    await hub.transfers.uploads.abort(principal, id)
    return Response(status_code=204)


async def _answer(request: Request, handle: Callable[[Request], Awaitable[Response]]) -> Response:
    spoken = request.headers.get("tus-resumable")
    if request.method not in {"OPTIONS", "GET"} and spoken != VERSION:
        problem = Invalid(f"This server supports tus {VERSION}: send 'Tus-Resumable: {VERSION}'.")
        response = render(problem)
        response.status_code = 412
        response.headers["Tus-Version"] = VERSION
        return response
    try:
        return await handle(request)
    except DSXError as error:
        note_refusal(request, error)
        response = render(error)
        if isinstance(error, PartCorrupt):
            response.status_code = 460  # Checksum: "Checksum Mismatch"
        if isinstance(error, OffsetMismatch):
            response.headers["Upload-Offset"] = str(error.details["expected_offset"])
        return response


async def _first_bytes(
    request: Request, hub: Hub, principal: Principal, upload: Upload, addition: AppendRequest
) -> Upload:
    """Append the creating request's bytes; if refused, drop the upload: its URL is unknown."""
    try:
        return await hub.transfers.uploads.append(
            principal, upload.id, partial(pump, request), addition
        )
    except DSXError:
        await hub.transfers.uploads.abort(principal, upload.id)
        raise


def _new_upload(request: Request) -> NewUpload:
    kind, parts = _concatenation(request)
    length = number(request.headers, "Upload-Length")
    deferred = request.headers.get("upload-defer-length")
    if deferred not in {None, "1"}:
        raise Invalid("Upload-Defer-Length must be 1.")
    if kind == "final" and (length is not None or deferred is not None):
        raise Invalid("A final upload takes no length: omit Upload-Length and Upload-Defer-Length.")
    if kind != "final" and (length is None) == (deferred is None):
        raise Invalid("Creation needs either Upload-Length or Upload-Defer-Length.")
    notes = {
        name: ",".join(request.headers.getlist(name)) for name in _NOTED if name in request.headers
    }
    new = described(notes.get(_METADATA, ""))
    absent = kind != "partial" and only_if_absent(request.headers)
    return replace(new, kind=kind, length=length, notes=notes, parts=parts, only_if_absent=absent)


def _concatenation(request: Request) -> tuple[UploadKind, tuple[str, ...]]:
    """Parse ``Upload-Concat``: the kind of upload, and the partial uploads of a final one."""
    header = request.headers.get(_CONCAT)
    if header is None:
        return "whole", ()
    if header == "partial":
        return "partial", ()
    urls = header.removeprefix("final;").split()
    if not header.startswith("final;") or not urls:
        raise Invalid("Upload-Concat must be 'partial' or 'final;URL …' with partial uploads.")
    return "final", tuple(named_upload(request, url) for url in urls)


def _addition(request: Request, offset: int) -> AppendRequest:
    """Build the append request, with its expected digest (Checksum)."""
    header = request.headers.get("upload-checksum")
    promised = "upload-checksum" in request.headers.get("trailer", "").lower()
    digest: Callable[[], PartDigest | None] = no_digest
    if header is not None and promised:
        raise Invalid("Send Upload-Checksum in the header or in the trailer, not in both.")
    if header is not None:
        digest = partial(_checksum, header)
        digest()  # refused before a byte is received
    elif promised:
        digest = partial(_promised_checksum, request)
    return AppendRequest(
        offset, size=announced(request), checked=promised or header is not None, digest=digest
    )


def _promised_checksum(request: Request) -> PartDigest:
    value = trailer(request, "upload-checksum")
    if value is None:
        raise Invalid("The declared trailer field Upload-Checksum is missing.")
    return _checksum(value)


def _checksum(header: str) -> PartDigest:
    algorithm, _, encoded = header.strip().partition(" ")
    if algorithm not in ALGORITHMS:
        raise Invalid(f"Upload-Checksum: {algorithm[:20]!r} is not one of {', '.join(ALGORITHMS)}.")
    try:
        value = base64.b64decode(encoded, validate=True)
    except ValueError:
        value = b""
    if len(value) != ALGORITHMS[algorithm]:
        raise Invalid(
            f"Upload-Checksum: {algorithm} must be {ALGORITHMS[algorithm]} bytes in Base64."
        )
    return PartDigest(algorithm, value)


def _wrong_type() -> Response:
    return Response(f"The Content-Type must be {CHUNK_TYPE}.", 415)


def _expiry(upload: Upload) -> dict[str, str]:
    return {"Upload-Expires": http_date(upload.expires)} if upload.state == "open" else {}
