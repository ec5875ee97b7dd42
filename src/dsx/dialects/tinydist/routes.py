"""The dialect of the tinydist seed: ``/upload``, ``/metadata/list``, ``/files``, ``/delete``.

Its README names no route for chunked uploads; ``/upload_chunk`` and its fields are those of its
public code. An id is a small number, as in its examples; a UUID is accepted as well.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import Query, Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from dsx.core.content import Content
from dsx.core.errors import Invalid, NotFound, Unprocessable
from dsx.core.model import FileQuery, FileVersion, Page
from dsx.core.principals import Principal
from dsx.http.conditions import only_if_absent
from dsx.http.credentials import HubDep, PrincipalDep
from dsx.http.parameters import LenientRoute
from dsx.http.prefix_router import PrefixRouter
from dsx.http.presence import present
from dsx.http.problems import documented
from dsx.http.receive import Form, Write, announced, pump_form
from dsx.http.send import DOWNLOADS, ContentResponse
from dsx.hub.clock import time_text
from dsx.hub.files.archive import archive
from dsx.hub.files.presence import Present
from dsx.hub.hub import Hub
from dsx.hub.transfers.chunks import ChunkInfo
from dsx.transport.body import Gate

router = PrefixRouter(
    route_class=LenientRoute,
    tags=["dialect: tinydist"],
    responses=documented(400, 401, 403, 405, 422, 503),
)

_PAGE = 1000
_IDS = re.compile(r",|\?id=")  # the seed's own example is `?id=1?id=2`
_NUMBER = re.compile(r"[0-9]{1,9}")
_ANY = {"content": {"application/json": {"schema": {"type": "object"}}}}
_LIST = {"content": {"application/json": {"schema": {"type": "array"}}}}
_FILE = {"type": "string", "format": "binary"}

Name = Annotated[str | None, Query(max_length=1024, examples=["a.csv"])]
Id = Annotated[str, Query(max_length=64, examples=["1"])]
Ids = Annotated[str, Query(max_length=65536)]


def _form(required: list[str], **fields: str) -> dict[str, Any]:
    """The OpenAPI of a form with a file and these *fields*, described."""
    texts = {name: {"type": "string", "description": text} for name, text in fields.items()}
    schema = {"type": "object", "required": required, "properties": {"file": _FILE, **texts}}
    return {
        "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}
    }


@router.post(
    "/upload",
    operation_id="tinydist_upload",
    status_code=201,
    summary="Store a file",
    response_class=JSONResponse,
    responses={201: _ANY, **documented(408, 412, 413, 507)},
    openapi_extra=_form(["file"], category="Default: `default`."),
)
async def upload(request: Request, hub: HubDep, principal: PrincipalDep) -> JSONResponse:
    """Store the form's `file` under its file name: a new file, or a new version of it."""
    receiver = await hub.files.receive(principal, announced(request))
    try:
        form = await pump_form(request, receiver.write)
        version = await hub.files.create(
            principal,
            receiver,
            name=_required(form, "filename", form.filename),
            category=_field(form, "category"),
            content_type=form.content_type,
            only_if_absent=only_if_absent(request.headers),
        )
    finally:
        await receiver.abandon()
    told = f"Stored {version.name!r} as version {version.version}."
    return JSONResponse({"message": told, "metadata": _record(version)}, 201)


@router.post(
    "/upload_chunk",
    operation_id="tinydist_upload_chunk",
    status_code=201,
    summary="Store a chunk of a file",
    response_class=JSONResponse,
    responses={200: _ANY, 201: _ANY, **documented(404, 408, 409, 410, 412, 413, 507)},
    openapi_extra=_form(
        ["file", "filename", "chunkIndex", "totalChunks"],
        filename="Name of the whole file.",
        chunkIndex="From 0 on.",
        totalChunks="1 to 10,000; each of any size.",
        category="Default: `default`.",
        checksum="MD5, SHA-1 or SHA-256 of the whole file in hexadecimal; verified.",
    ),
)
async def upload_chunk(request: Request, hub: HubDep, principal: PrincipalDep) -> JSONResponse:
    """Store one chunk: 200, or 201 with the file in `metadata` once all chunks are stored.

    Chunks may be sent in any order, in parallel and repeatedly. Those of the same name, number and
    checksum belong together. Different bytes for a stored chunk are refused (409); if the whole
    does not match the checksum, all chunks are dropped (422).
    """
    form = Form()

    async def source(write: Write, gate: Gate) -> None:
        nonlocal form
        form = await pump_form(request, write, gate)

    progress = await hub.transfers.chunks.add(
        principal,
        source,
        lambda: _place(form, new=only_if_absent(request.headers)),
        announced(request),
    )
    record = _record(progress.version) if progress.version else None
    message = "The file is complete." if record else f"{progress.received} chunks are stored."
    body = {"message": message, "received": progress.received, "metadata": record}
    return JSONResponse(body, 201 if record else 200)


@router.get(
    "/metadata/list",
    operation_id="tinydist_list",
    summary="List files",
    response_class=Response,
    responses={200: _LIST},
)
async def list_metadata(
    hub: HubDep,
    principal: PrincipalDep,
    limit: Annotated[int | None, Query(ge=1, le=1_000_000_000)] = None,
    category: Annotated[str | None, Query(max_length=255)] = None,
) -> StreamingResponse:
    """Stream the record of every file's newest version as one JSON list, newest first."""
    query = FileQuery(limit=min(limit or _PAGE, _PAGE), category=category or None)
    first = await hub.files.list(principal, query)  # a failure here is still a problem response
    records = _array(hub.files.pages(principal, query, first), limit)
    return StreamingResponse(records, media_type="application/json")


@router.get(
    "/files",
    operation_id="tinydist_files",
    summary="Download files",
    response_class=Response,
    responses=DOWNLOADS | documented(404, 410, 412, 413, 416),
)
@router.head(
    "/files",
    operation_id="tinydist_files_head",
    summary="Read a download's headers",
    response_class=Response,
    responses=DOWNLOADS | documented(404, 410, 412, 413, 416),
)
async def files(
    request: Request,
    hub: HubDep,
    principal: PrincipalDep,
    id: Annotated[list[Ids] | None, Query(max_length=1000, examples=[["1", "2"]])] = None,  # noqa: A002
    filename: Name = None,
) -> ContentResponse:
    """Return one file's bytes, by `id` or `filename`, or a ZIP of several; ranges resume both."""
    refs = [part for value in id or () for part in _IDS.split(value) if part]
    if bool(refs) == bool(filename):
        raise Invalid("Send either one or more ids or a filename.")
    return ContentResponse(
        request, await _content(hub, principal, refs, filename or "", present(request))
    )


@router.delete(
    "/delete",
    operation_id="tinydist_delete",
    summary="Delete a file to the trash",
    response_class=JSONResponse,
    responses={200: _ANY, **documented(404, 409, 412, 413, 507)},
)
async def delete(
    hub: HubDep,
    principal: PrincipalDep,
    id: Id | None = None,  # noqa: A002
    filename: Name = None,
) -> JSONResponse:
    """Move a file, with all its versions, to the trash, even if its bytes are missing.

    A `filename` without a record moves the file of that name in the hub's `drop` directory (admins
    only).
    """
    if bool(id) == bool(filename):
        raise Invalid("Send either an id or a filename.")
    try:
        if id:
            version = await hub.trash.delete_file(principal, id)
        else:
            version = await hub.trash.delete_named(principal, filename or "")
    except NotFound:
        if id:
            raise
        version = await hub.drop.delete(principal, filename or "")
        told = f"Moved {version.name!r}, which had no metadata, to the trash."
    else:
        told = f"Moved {version.name!r} to the trash."
        if not await hub.files.has_bytes(version):
            told = f"Deleted the metadata of {version.name!r}; its bytes were missing."
    return JSONResponse({"message": told, "id": version.number})


async def _content(
    hub: Hub, principal: Principal, refs: list[str], name: str, here: Present
) -> Content:
    if name:
        refs = [(await hub.files.find(principal, name)).id]
    if len(refs) == 1:
        return await hub.files.content(principal, refs[0])
    return await archive(await hub.files.get_many(principal, refs, here), hub.files, here)


async def _array(pages: AsyncIterator[Page], limit: int | None) -> AsyncIterator[str]:
    """At most *limit* records as a JSON list, page by page."""
    separator, left = "[", limit
    async for page in pages:
        items = page.items[:left]
        if items:
            yield separator + ",".join(json.dumps(_record(item)) for item in items)
            separator = ","
        left = None if left is None else left - len(items)
        if left == 0:
            break
    yield "]" if separator == "," else "[]"


def _record(version: FileVersion) -> dict[str, Any]:
    return {
        "id": version.number,
        "uuid": version.id,
        "filename": version.name,
        "category": version.category,
        "size": version.size,
        "timestamp": time_text(version.created),
        "version": version.version,
        "sha256": version.sha256,
        "content_type": version.content_type,
    }


def _place(form: Form, *, new: bool) -> ChunkInfo:
    return ChunkInfo(
        name=_required(form, "filename", form.filename),
        index=_number(form, "chunkIndex"),
        total=_number(form, "totalChunks"),
        category=_field(form, "category"),
        checksum=_field(form, "checksum") or "",
        only_if_absent=new,
    )


def _field(form: Form, name: str) -> str | None:
    """The last value of a form field; None if it is absent or empty."""
    return form.texts.get(name) or None


def _required(form: Form, name: str, otherwise: str | None = None) -> str:
    value = _field(form, name) or otherwise
    if not value:
        raise Unprocessable(f"The form needs the field {name}.", {"field": name})
    return value


def _number(form: Form, name: str) -> int:
    text = _required(form, name)
    if not _NUMBER.fullmatch(text):
        raise Unprocessable(f"{name} must be a number in decimal digits.", {"field": name})
    return int(text)
