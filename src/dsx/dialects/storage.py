"""The dialect of the proxy-and-nodes seed: ``/api-token-auth/``, ``/storage/…``, slashes and all.

A file is sent in chunks, each a form with a Content-Range, and created by a POST with its MD5; an
upload and its file have the same id. A chunk whose length differs from its range is discarded.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import Path, Query, Request, Response
from pydantic import BaseModel, Field
from starlette.requests import ClientDisconnect

from dsx.core.errors import Conflict, DigestMismatch, DSXError, Invalid, OffsetMismatch
from dsx.core.model import FileVersion, Micros
from dsx.core.principals import Principal
from dsx.core.ranges import parse_content_range
from dsx.core.transfers import NewUpload, Upload
from dsx.http.conditions import only_if_absent
from dsx.http.credentials import HubDep, PrincipalDep, address_of
from dsx.http.forms import read_fields
from dsx.http.parameters import LenientRoute
from dsx.http.prefix_router import PrefixRouter
from dsx.http.problems import documented
from dsx.http.public import url_of
from dsx.http.receive import Form, Write, announced, pump_form
from dsx.http.send import DOWNLOADS, ContentResponse
from dsx.hub.clock import time_text
from dsx.hub.hub import Hub
from dsx.hub.transfers.append_request import AppendRequest
from dsx.hub.transfers.creation import MAX_LENGTH, PARENT
from dsx.transport.body import Gate

_UPLOADS, _FILES, _DOWNLOADS = "/storage/tmp-upload/", "/storage/files/", "/storage/download/"
_MD5 = "md5"
_CLAIM = AppendRequest(0, claimed=True, digests=(_MD5,))
_TEXT = {"type": "string"}
_FACTS = {
    "filename": _TEXT,
    "parent": {"type": "string", "description": "Id of the file to add a version to."},
    _MD5: {"type": "string", "description": "MD5 of the whole file, in hexadecimal."},
}
_FILE = {"file": {"type": "string", "format": "binary"}, **_FACTS}


def _body(properties: Mapping[str, Any], *kinds: str, required: list[str]) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties, "required": required}
    content = {kind: {"schema": schema} for kind in kinds}
    return {"requestBody": {"required": bool(required), "content": content}}


_CHUNK_BODY = _body(_FILE, "multipart/form-data", required=["file"])
_CHUNK_BODY["parameters"] = [
    {
        "name": "Content-Range",
        "in": "header",
        "description": "`bytes FIRST-LAST/LENGTH`, from 0; LENGTH may be `*`. Absent: whole.",
        "schema": {"type": "string", "pattern": r"^bytes \d{1,18}-\d{1,18}/(\d{1,18}|\*)$"},
    }
]
_SMALL = "application/x-www-form-urlencoded", "multipart/form-data", "application/json"
_SMALL_BODY = _body(_FACTS, *_SMALL, required=[])
_LOGIN = {"username": _TEXT, "password": _TEXT}
_LOGIN_BODY = _body(_LOGIN, *_SMALL, required=[*_LOGIN])
_CHUNK: dict[str, Any] = {
    "response_model_exclude_unset": True,
    "responses": documented(400, 404, 408, 409, 410, 412, 413, 507),
    "openapi_extra": _CHUNK_BODY,
}
_DOWNLOAD: dict[str, Any] = {
    "response_class": Response,
    "responses": DOWNLOADS | documented(404, 410, 412, 416),
}


class UploadState(BaseModel):
    """An upload; the last three fields are set once it is complete."""

    id: str
    url: str = Field(description="URL for further chunks and the final POST.")
    file: str = Field(description="URL of the bytes; needs credentials.")
    filename: str
    offset: int = Field(description="Bytes stored: where the next chunk begins.")
    created_at: str
    status: int = Field(description="1: open, 2: complete.")
    completed_at: str | None
    user: int
    parent: str | None
    expires: str
    checksum_verified: bool | None = Field(None, description="Whether an MD5 was verified.")
    sha256: str | None = None
    download_url: str | None = None


class Version(BaseModel):
    """An older version of a file."""

    id: str
    created_at: str
    download_url: str


class File(Version):
    """The newest version of a file."""

    filename: str
    versions: list[Version] = Field(description="Older versions, newest first; at most 100.")


class FileListing(BaseModel):
    """One page of files."""

    count: int
    next: str | None
    previous: str | None
    results: list[File]


class StorageRoute(LenientRoute):
    """Adapts failures for this system's clients: adds the offset, and 400 for a wrong MD5."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, with those two failures changed."""
        handle: Callable[[Request], Awaitable[Response]] = super().get_route_handler()

        async def handler(request: Request) -> Response:
            try:
                return await handle(request)
            except OffsetMismatch as error:
                offset = error.details["expected_offset"]
                raise OffsetMismatch(error.message, {**error.details, "offset": offset}) from None
            except DigestMismatch as error:
                raise Invalid(error.message, error.details) from None

        return handler


Ref = Annotated[str, Path(max_length=64, description="Id of an upload, or of a file version.")]
router = PrefixRouter(
    tags=["dialect: storage"],
    route_class=StorageRoute,
    responses=documented(401, 403, 405, 422, 503),
)


@router.post(
    "/api-token-auth/",
    operation_id="storage_token",
    summary="Sign in",
    responses=documented(400, 413, 429),
    openapi_extra=_LOGIN_BODY,
)
async def token(request: Request, hub: HubDep) -> Mapping[str, str]:
    """Exchange name and password for a signed token, to be sent as `JWT TOKEN`."""
    told = await read_fields(request)
    if not {"username", "password"} <= told.keys():
        raise Invalid("Send username and password.", {"fields": ["username", "password"]})
    address = address_of(request)
    user = await hub.accounts.users.sign_in(told["username"], told["password"], address=address)
    return {"token": await hub.accounts.users.issue_jwt(user)}


@router.put(
    _UPLOADS,
    operation_id="storage_begin",
    summary="Upload a first chunk",
    **_CHUNK,
)
async def begin(request: Request, hub: HubDep, principal: PrincipalDep) -> UploadState:
    """Begin an upload with its first chunk, or all of it. Form fields may be in any order."""
    async with _begun(request, hub, principal) as upload:
        pass
    return await _state(request, hub, principal, upload)


@router.post(
    _UPLOADS,
    operation_id="storage_store",
    summary="Upload a whole file",
    status_code=201,
    **_CHUNK,
)
async def store(request: Request, hub: HubDep, principal: PrincipalDep) -> UploadState:
    """Upload and complete in one request; nothing is stored if any of it is wrong."""
    async with _begun(request, hub, principal) as upload:
        made = await _finish(hub, principal, upload, {})
    return await _state(request, hub, principal, made)


@router.put(
    _UPLOADS + "{ref}/",
    operation_id="storage_append",
    summary="Upload a further chunk",
    **_CHUNK,
)
async def append(ref: Ref, request: Request, hub: HubDep, principal: PrincipalDep) -> UploadState:
    """Append a chunk at the upload's offset; any other start gets 409 with the `offset`."""
    upload = await hub.transfers.uploads.get(principal, ref, "write")
    form = await _receive(request, hub, principal, upload, _said(request, upload))
    await _tell(hub, principal, upload, form.texts)
    return await _state(
        request, hub, principal, await hub.transfers.uploads.get(principal, ref, "write")
    )


@router.get(
    _UPLOADS + "{ref}/",
    operation_id="storage_read",
    summary="Read an upload's state",
    response_model_exclude_unset=True,
    responses=documented(404, 410),
)
async def read(ref: Ref, request: Request, hub: HubDep, principal: PrincipalDep) -> UploadState:
    """Return the upload's state, available while it is open and for a day after."""
    return await _state(request, hub, principal, await hub.transfers.uploads.get(principal, ref))


@router.post(
    _UPLOADS + "{ref}/",
    operation_id="storage_complete",
    summary="Complete an upload",
    response_model_exclude_unset=True,
    responses=documented(400, 404, 409, 410, 412, 413, 507),
    openapi_extra=_SMALL_BODY,
)
async def complete(ref: Ref, request: Request, hub: HubDep, principal: PrincipalDep) -> UploadState:
    """Create the file if its bytes match `md5`; a wrong `md5` can be corrected. Idempotent."""
    fields = await read_fields(request)
    made = await _finish(
        hub, principal, await hub.transfers.uploads.get(principal, ref, "write"), fields
    )
    return await _state(request, hub, principal, made)


@router.get(_FILES, operation_id="storage_files", summary="List files", responses=documented(404))
async def files(
    request: Request,
    hub: HubDep,
    principal: PrincipalDep,
    page: Annotated[int, Query(ge=1, le=1 << 31)] = 1,
    page_size: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> FileListing:
    """List your files, newest first, in numbered pages, each with its older versions."""
    found = await hub.files.numbered(principal, page, page_size)

    def turned(to: int) -> str:
        return f"{url_of(request, _FILES)}?{urlencode({'page': to, 'page_size': page_size})}"

    def version(id_: str, created: Micros) -> dict[str, str]:
        url = url_of(request, f"{_DOWNLOADS}{id_}/")
        return {"id": id_, "created_at": time_text(created), "download_url": url}

    def file(item: FileVersion) -> File:
        older = [Version(**version(*one)) for one in found.earlier[item.file]]
        return File(filename=item.name, versions=older, **version(item.id, item.created))

    return FileListing(
        count=found.count,
        next=turned(page + 1) if page * page_size < found.count else None,
        previous=turned(page - 1) if page > 1 else None,
        results=[file(item) for item in found.items],
    )


@router.get(
    _DOWNLOADS + "{ref}/",
    operation_id="storage_download",
    summary="Download a file",
    **_DOWNLOAD,
)
@router.head(
    _DOWNLOADS + "{ref}/",
    operation_id="storage_download_head",
    summary="Read a download's headers",
    **_DOWNLOAD,
)
async def download(ref: Ref, request: Request, hub: HubDep, principal: PrincipalDep) -> Response:
    """Return the bytes, whole or in ranges; an end beyond the last byte is clipped."""
    return ContentResponse(request, await hub.files.content(principal, ref))


def _said(request: Request, upload: Upload | None) -> AppendRequest:
    """Parse a chunk's range; raises `Invalid`, with the offset, unless it fits *upload*.

    The seed's own example counts from 1: ``1-N/N`` is accepted as all N bytes. No other range that
    ends beyond the last byte is, as the position of a second chunk would be ambiguous.
    """
    header = request.headers.get("content-range")
    known = upload.length if upload else None
    if header is None:
        return replace(_CLAIM, size=known, last=True, announced=announced(request))
    first, last, length = parse_content_range(header) or (1, 0, known)
    if first == 1 and last == length:
        first, last = 0, last - 1
    end = next(number for number in (length, known, MAX_LENGTH) if number is not None)
    same = length is None or known in {None, length}
    if not (same and first <= last < end and (upload or first == 0)):
        raise Invalid(
            "Content-Range must be 'bytes FIRST-LAST/LENGTH', from 0 on, with the same LENGTH.",
            {"offset": upload.offset if upload else 0, "length": known},
        )
    return replace(_CLAIM, offset=first, size=last - first + 1, length=length)


@asynccontextmanager
async def _begun(request: Request, hub: Hub, principal: Principal) -> AsyncIterator[Upload]:
    """Create an upload from the request; drop it if the block fails: its URL is unknown."""
    said = _said(request, None)
    upload = await hub.transfers.uploads.create(
        principal, NewUpload(length=said.length, only_if_absent=only_if_absent(request.headers))
    )
    try:
        form = await _receive(request, hub, principal, upload, said)
        fields = form.texts
        fields["filename"] = fields.get("filename") or form.filename or ""
        if not (fields["filename"] or fields.get(PARENT)):
            raise Invalid("The file needs a name: send the field filename.", {"field": "filename"})
        await _tell(hub, principal, upload, fields)
        yield await hub.transfers.uploads.get(principal, upload.id, "write")
    except (DSXError, ClientDisconnect):
        with suppress(DSXError):
            await hub.transfers.uploads.abort(principal, upload.id)
        raise


async def _receive(
    request: Request, hub: Hub, principal: Principal, upload: Upload, addition: AppendRequest
) -> Form:
    """Append the file of the request's form to *upload*; return the form."""
    form = Form()

    async def source(write: Write, gate: Gate) -> None:
        nonlocal form
        form = await pump_form(request, write, gate)

    await hub.transfers.uploads.append(principal, upload.id, source, addition, finish=False)
    return form


async def _tell(hub: Hub, principal: Principal, upload: Upload, told: Mapping[str, str]) -> None:
    """Apply new fields to an open upload."""
    name, parent, md5 = (told.get(key) or None for key in ("filename", PARENT, _MD5))
    name = None if name == upload.name else name
    if name or parent or md5:
        await hub.transfers.uploads.describe(
            principal,
            upload.id,
            name=name,
            parent=parent,
            expected={_MD5: md5} if md5 else {},
        )


async def _finish(
    hub: Hub, principal: Principal, upload: Upload, told: Mapping[str, str]
) -> Upload:
    """Finish the upload, unless it already is; return it."""
    md5 = told.get(_MD5)
    with suppress(Conflict):  # already finished: the fields come too late
        await _tell(hub, principal, upload, {**told, _MD5: ""})
    return await hub.transfers.uploads.finish_with_digests(
        principal, upload.id, {_MD5: md5} if md5 else {}
    )


async def _state(request: Request, hub: Hub, principal: Principal, upload: Upload) -> UploadState:
    version = await hub.transfers.uploads.version(principal, upload)
    url = url_of(request, f"{_UPLOADS}{upload.id}/")
    state = UploadState(
        id=upload.id,
        url=url,
        file=url,
        filename=upload.name or upload.id,
        offset=upload.offset,
        created_at=time_text(upload.created),
        status=1,
        completed_at=None,
        user=principal.number,
        parent=upload.notes.get(PARENT),
        expires=time_text(upload.expires),
    )
    if version is None:
        return state
    url = url_of(request, f"{_DOWNLOADS}{version.id}/")
    done = {
        "file": url,
        "filename": version.name,
        "status": 2,
        "completed_at": time_text(version.created),
        "checksum_verified": _MD5 in upload.expected,
        "sha256": version.sha256,
        "download_url": url,
    }
    return state.model_copy(update=done)
