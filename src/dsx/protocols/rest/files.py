"""``/api/v1/files``: create, list, read, patch, download, delete."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Depends, Header, Path, Query, Request, Response
from pydantic_core import from_json
from starlette.responses import JSONResponse

from dsx.core.digest import Digest, from_repr_digest
from dsx.core.errors import Invalid, Unprocessable
from dsx.core.model import FileChanges, FileQuery
from dsx.http.conditions import OnlyIfAbsent, only_if_match
from dsx.http.credentials import HubDep, PrincipalDep
from dsx.http.listing import listing
from dsx.http.parameters import Date
from dsx.http.prefix_router import PrefixRouter
from dsx.http.problems import documented
from dsx.http.public import path_of
from dsx.http.receive import announced, pump, pump_form
from dsx.http.send import DOWNLOADS, ContentResponse
from dsx.hub.clock import to_micros
from dsx.protocols.rest.models import (
    File,
    FileId,
    FileList,
    FilePage,
    FilePatch,
    Names,
)

router = PrefixRouter(prefix="/files", tags=["files"])

_BINARY = {"schema": {"type": "string", "format": "binary"}}
_FORM: dict[str, Any] = {
    "schema": {
        "type": "object",
        "required": ["file"],
        "properties": {
            "file": {"type": "string", "format": "binary"},
            "name": {"type": "string", "description": "Default: the part's file name."},
            "category": {"type": "string"},
            "tag": {"type": "array", "items": {"type": "string"}},
            "metadata": {"type": "string", "description": "A JSON object."},
        },
    }
}
Version = Annotated[
    int, Path(ge=1, le=(1 << 31) - 1, description="Number of the version: 1, 2, 3 …")
]


def _if_match(
    request: Request,
    if_match: Annotated[
        str | None, Header(description="ETags, one of which must be current; `*`: any.")
    ] = None,
) -> frozenset[str] | None:
    return None if if_match is None else only_if_match(request.headers)


IfMatch = Annotated[frozenset[str] | None, Depends(_if_match)]
Sort = Literal["created", "-created", "name", "-name", "size", "-size"]


@router.post(
    "",
    status_code=201,
    response_model=File,
    summary="Store a file",
    responses={
        200: {"model": File, "description": "The file already has these bytes (`if_changed`)."},
        **documented(408, 412, 413, 507),
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/octet-stream": _BINARY, "multipart/form-data": _FORM},
        }
    },
)
async def create_file(
    *,
    request: Request,
    hub: HubDep,
    principal: PrincipalDep,
    name: Annotated[str | None, Query(examples=["a.csv"])] = None,
    category: Annotated[str | None, Query(examples=["train"])] = None,
    tag: Annotated[list[str] | None, Query(max_length=256)] = None,
    metadata: Annotated[str | None, Query(description="A JSON object.", examples=["{}"])] = None,
    if_changed: Annotated[
        bool, Query(description="Do not create a version if the file already has these bytes.")
    ] = False,
    absent: OnlyIfAbsent,
    repr_digest: Annotated[
        str | None, Header(description="`sha-256=:base64:` (RFC 9530), verified.")
    ] = None,
    if_match: IfMatch,
) -> JSONResponse:
    """Store the body as a new file, or as a new version of the file of that name.

    Send the bytes raw, with their own Content-Type, or as the part `file` of a form whose fields
    replace the query parameters. The response is sent once the bytes are on disk and the file is
    listed.

    With `if_changed`, no version is created if the file already has these bytes and the given
    category, tags, metadata and type: the response is then 200 with the existing version.
    """
    expected = _expected(repr_digest)
    receiver = await hub.files.receive(principal, announced(request))
    fields: dict[str, list[str]] = {}
    content_type = request.headers.get("content-type")
    try:
        if content_type and content_type.lower().startswith("multipart/form-data"):
            form = await pump_form(request, receiver.write)
            fields, content_type = form.fields, form.content_type
            name = name or form.filename
        else:
            await pump(request, receiver.write)
        version = await hub.files.create(
            principal,
            receiver,
            name=_required(_last(fields, "name") or name),
            category=_last(fields, "category") or category or None,
            content_type=content_type,
            metadata=_object(_last(fields, "metadata") or metadata),
            tags=[*(tag or []), *fields.get("tag", [])],
            expected=expected,
            only_if_absent=absent,
            only_if_match=if_match,
            only_if_changed=if_changed,
        )
    finally:
        await receiver.abandon()
    body = File.of(version).model_dump()
    location = path_of(request, f"/api/v1/files/{version.id}")
    status = 201 if receiver.sealed else 200
    return JSONResponse(body, status, {"Location": location, "ETag": f'"{version.sha256}"'})


@router.post("/lookup", summary="Look files up by name")
async def look_up_files(wanted: Names, hub: HubDep, principal: PrincipalDep) -> FileList:
    """Return the newest versions of your files with these names, in any order.

    Files whose bytes are damaged are left out: store them again.
    """
    found = await hub.files.find_many(principal, wanted.names)
    return FileList(items=[File.of(version) for version in found])


@router.get("", summary="List files", response_model=FilePage, responses=documented(404))
async def list_files(
    *,
    request: Request,
    hub: HubDep,
    principal: PrincipalDep,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[str | None, Query(max_length=4096, description="`next` of a page.")] = None,
    name: Annotated[str | None, Query(max_length=1024, description="Glob: `img_*.png`.")] = None,
    regex: Annotated[
        str | None, Query(max_length=1000, description="RE2 expression to search the name for.")
    ] = None,
    category: Annotated[str | None, Query(max_length=255)] = None,
    tag: Annotated[
        list[str] | None, Query(max_length=32, description="Tags that all must match.")
    ] = None,
    created_from: Annotated[Date | None, Query(description="Inclusive.")] = None,
    created_to: Annotated[Date | None, Query(description="Exclusive.")] = None,
    sort: Sort = "-created",
    owner: Annotated[
        str | None, Query(max_length=64, description="Another user who shares files with you.")
    ] = None,
) -> Response:
    """List the newest version of every file, page by page; filters combine with AND."""
    query = FileQuery(
        limit=limit,
        cursor=cursor,
        glob=name,
        regex=regex,
        category=category,
        tags=tuple(tag or ()),
        created_from=None if created_from is None else to_micros(created_from),
        created_to=None if created_to is None else to_micros(created_to),
        sort=sort,
    )
    page = await hub.files.list(principal, query, owner=owner)
    headers = {}
    if page.next:
        following = request.url.include_query_params(cursor=page.next)
        headers["Link"] = f'<{following}>; rel="next"'
    return await listing(page.items, File.of, headers, next=page.next)


@router.get("/{id}", summary="Read a file's record", responses=documented(404))
async def get_file(id: FileId, hub: HubDep, principal: PrincipalDep) -> File:  # noqa: A002
    """Return the record of one version, without its bytes."""
    return File.of(await hub.files.get(principal, id))


@router.get(
    "/{id}/versions",
    summary="List a file's versions",
    response_model=FilePage,
    responses=documented(404),
)
async def list_versions(
    id: FileId,  # noqa: A002
    hub: HubDep,
    principal: PrincipalDep,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[str | None, Query(max_length=4096, description="`next` of a page.")] = None,
) -> Response:
    """List the versions of the file to which *id* belongs, newest first, page by page."""
    page = await hub.files.versions(principal, id, limit=limit, cursor=cursor)
    return await listing(page.items, File.of, next=page.next)


@router.get("/{id}/versions/{version}", summary="Read a version", responses=documented(404))
async def get_version(
    id: FileId,  # noqa: A002
    version: Version,
    hub: HubDep,
    principal: PrincipalDep,
) -> File:
    """Return one version's record of the file to which *id* belongs."""
    return File.of(await hub.files.version(principal, id, version))


@router.delete(
    "/{id}/versions/{version}",
    status_code=204,
    summary="Delete a version to the trash",
    responses=documented(404),
)
async def delete_version(
    id: FileId,  # noqa: A002
    version: Version,
    hub: HubDep,
    principal: PrincipalDep,
) -> None:
    """Move this version to the trash; if it is the newest, the previous one becomes newest."""
    await hub.trash.delete_version(principal, id, version)


@router.patch("/{id}", summary="Change a file's record", responses=documented(404, 409, 412))
async def patch_file(
    id: FileId,  # noqa: A002
    changes: FilePatch,
    hub: HubDep,
    principal: PrincipalDep,
    if_match: IfMatch,
) -> File:
    """Rename, re-categorise, re-tag, or merge metadata. The bytes never change."""
    wanted = FileChanges(
        name=changes.name,
        category=changes.category,
        tags=None if changes.tags is None else tuple(changes.tags),
        metadata=changes.metadata,
    )
    return File.of(await hub.files.update(principal, id, wanted, only_if_match=if_match))


@router.get(
    "/{id}/content",
    operation_id="download_file",
    summary="Download a file",
    response_class=Response,
    responses=DOWNLOADS | documented(404, 410, 412, 416),
)
@router.head(
    "/{id}/content",
    operation_id="download_file_head",
    summary="Read a download's headers",
    response_class=Response,
    responses=DOWNLOADS | documented(404, 410, 412, 416),
)
async def download_file(
    id: FileId,  # noqa: A002
    request: Request,
    hub: HubDep,
    principal: PrincipalDep,
) -> ContentResponse:
    """Return the bytes, whole or in ranges, with ETag, conditions and Repr-Digest.

    See RFC 9110 and RFC 9530.
    """
    return ContentResponse(request, await hub.files.content(principal, id))


@router.delete(
    "/{id}", status_code=204, summary="Delete a file to the trash", responses=documented(404, 412)
)
async def delete_file(
    id: FileId,  # noqa: A002
    hub: HubDep,
    principal: PrincipalDep,
    if_match: IfMatch,
) -> None:
    """Move a file to the trash, or one version, if *id* is that of an older version."""
    await hub.trash.delete(principal, id, only_if_match=if_match)


def _expected(header: str | None) -> Digest | None:
    return from_repr_digest(header) if header else None


def _required(name: str | None) -> str:
    if not name:
        raise Unprocessable("The file needs a name: add ?name=…", {"field": "name"})
    return name


def _last(fields: dict[str, list[str]], key: str) -> str | None:
    return fields[key][-1] if fields.get(key) else None


def _object(text: str | None) -> dict[str, Any]:
    if not text:
        return {}
    try:
        value = from_json(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise Invalid("metadata must be a JSON object.")
    return value
