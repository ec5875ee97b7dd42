"""The dialect of the minimal file server seed: ``/list``, ``/upload=FILE``, ``/delete=FILE``.

That system declared no methods: here changes need POST, PUT or DELETE, never GET. FILE is the
file's name, as part of the path.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import Header, Path, Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from dsx.core.model import FileQuery, FileVersion, Page
from dsx.http.conditions import only_if_absent
from dsx.http.credentials import HubDep, PrincipalDep
from dsx.http.parameters import LenientRoute, refuses_unknown
from dsx.http.prefix_router import PrefixRouter
from dsx.http.problems import documented
from dsx.http.public import path_of
from dsx.http.receive import announced, pump, pump_form
from dsx.hub.files.files import FORM_OVERHEAD

router = PrefixRouter(
    route_class=LenientRoute,
    tags=["dialect: file server"],
    responses=documented(401, 403, 405, 422, 429, 503),
)

_JSON, _TEXT = "application/json", "text/plain"
_PAGE = 1000
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_FORM: dict[str, Any] = {
    "schema": {"type": "object", "required": ["file"], "properties": {"file": _BINARY["schema"]}}
}
_NAMES = {"type": "array", "items": {"type": "string"}}
Name = Annotated[str, Path(max_length=1024, description="The file's name.", examples=["a.txt"])]


@router.get(
    "/list",
    operation_id="fileserver_list",
    summary="List file names",
    response_class=Response,
    responses={
        200: {
            "description": "The names, sorted.",
            "content": {_TEXT: {"schema": {"type": "string"}}, _JSON: {"schema": _NAMES}},
        }
    },
)
async def list_names(
    hub: HubDep, principal: PrincipalDep, accept: Annotated[str, Header(max_length=4096)] = "*/*"
) -> StreamingResponse:
    """Stream all names, one per line, or as a JSON list if `Accept` prefers JSON."""
    query = FileQuery(limit=_PAGE, sort="name")
    first = await hub.files.list(principal, query)  # a failure here is still a problem response
    names = _names(hub.files.pages(principal, query, first))
    headers = {"Vary": "Accept"}
    if _prefers_json(accept):
        return StreamingResponse(_as_json(names), media_type=_JSON, headers=headers)
    return StreamingResponse(_as_lines(names), media_type=_TEXT, headers=headers)


@router.post(
    "/upload={name:path}",
    operation_id="fileserver_upload",
    summary="Upload a file",
    status_code=201,
    response_class=Response,
    responses={201: {"content": {_JSON: {}}}, **documented(400, 408, 412, 413, 507)},
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/octet-stream": _BINARY, "multipart/form-data": _FORM},
        }
    },
)
@router.put(
    "/upload={name:path}",
    operation_id="fileserver_upload_put",
    summary="Upload a file",
    status_code=201,
    response_class=Response,
    responses={201: {"content": {_JSON: {}}}, **documented(400, 408, 412, 413, 507)},
    openapi_extra={"requestBody": {"content": {"application/octet-stream": _BINARY}}},
)
async def upload(request: Request, name: Name, hub: HubDep, principal: PrincipalDep) -> Response:
    """Store the body, raw or as the part `file` of a form, under the name in the path.

    A taken name gets a new version. Only this route is limited to `DSX_FILESERVER_MAX`, by default
    16 MiB; `/api/v1/files` accepts larger files.
    """
    content_type = request.headers.get("content-type", "")
    is_form = content_type.lower().startswith("multipart/form-data")
    receiver = await hub.files.receive(
        principal,
        announced(request),
        framing=FORM_OVERHEAD if is_form else 0,
        at_most=hub.fileserver_max,
    )
    try:
        if is_form:
            content_type = (await pump_form(request, receiver.write)).content_type or ""
        else:
            await pump(request, receiver.write)
        version = await hub.files.create(
            principal,
            receiver,
            name=name,
            content_type=content_type or None,
            only_if_absent=only_if_absent(request.headers),
        )
    finally:
        await receiver.abandon()
    location = path_of(request, f"/api/v1/files/{version.id}")
    return JSONResponse(_record(version), 201, {"Location": location})


@router.post(
    "/delete={name:path}",
    operation_id="fileserver_delete_post",
    summary="Delete a file",
    response_class=Response,
    responses={200: {"content": {_JSON: {}}}, **documented(400, 404)},
)
@router.delete(
    "/delete={name:path}",
    operation_id="fileserver_delete",
    summary="Delete a file",
    response_class=Response,
    responses={200: {"content": {_JSON: {}}}, **documented(400, 404)},
)
@refuses_unknown
async def delete(name: Name, hub: HubDep, principal: PrincipalDep) -> Response:
    """Move the file of this name, with all its versions, to the trash."""
    return JSONResponse(_record(await hub.trash.delete_named(principal, name)))


async def _names(pages: AsyncIterator[Page]) -> AsyncIterator[list[str]]:
    """The names in *pages*, page by page."""
    async for page in pages:
        yield [version.name for version in page.items]


async def _as_lines(names: AsyncIterator[list[str]]) -> AsyncIterator[str]:
    """One line per name: names have no line breaks."""
    async for page in names:
        yield "".join(f"{name}\n" for name in page)


async def _as_json(names: AsyncIterator[list[str]]) -> AsyncIterator[str]:
    separator = "["
    async for page in names:
        for name in page:
            yield separator + json.dumps(name, ensure_ascii=False)
            separator = ","
    yield "]" if separator == "," else "[]"


def _prefers_json(accept: str) -> bool:
    """Whether *accept* (RFC 9110 §12.5.1) prefers JSON to text."""
    weights: dict[str, float] = {}
    for item in accept.lower().split(","):
        kind, _, parameters = item.partition(";")
        weights.setdefault(kind.strip(), _weight(parameters))
    wanted = weights.get(_JSON, 0.0)
    named = list(weights)
    if wanted == weights.get(_TEXT):
        return wanted > 0 and named.index(_JSON) < named.index(_TEXT)
    return wanted > weights.get(_TEXT, 0.0)


def _weight(parameters: str) -> float:
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0


def _record(version: FileVersion) -> dict[str, Any]:
    return {
        "filename": version.name,
        "size": version.size,
        "sha256": version.sha256,
        "id": version.id,
        "number": version.number,
    }
