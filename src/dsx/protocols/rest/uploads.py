"""``/api/v1/uploads``: resumable uploads in parts, in any order, in parallel."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from fastapi import Header, Path, Query, Request, Response

from dsx.core import transfers
from dsx.core.digest import from_digest_field
from dsx.core.errors import Conflict
from dsx.core.model import FileVersion
from dsx.core.principals import Principal
from dsx.core.transfers import PartDigest
from dsx.http.conditions import OnlyIfAbsent
from dsx.http.credentials import HubDep, PrincipalDep
from dsx.http.prefix_router import PrefixRouter
from dsx.http.problems import documented
from dsx.http.public import path_of
from dsx.http.receive import announced, pump
from dsx.hub.hub import Hub
from dsx.hub.transfers.append_request import AppendRequest, no_digest
from dsx.protocols.rest.models import File
from dsx.protocols.rest.transfer_models import (
    Finish,
    NewUpload,
    Proof,
    Upload,
    UploadId,
    UploadList,
)

router = PrefixRouter(prefix="/uploads", tags=["uploads"])

_BINARY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


@router.post(
    "", status_code=201, summary="Begin an upload", responses=documented(404, 409, 412, 413, 507)
)
async def create_upload(
    *,
    new: NewUpload,
    request: Request,
    response: Response,
    hub: HubDep,
    principal: PrincipalDep,
    absent: OnlyIfAbsent,
) -> Upload:
    """Reserve space for a file and return the URL to send its parts to.

    If `sha256` is given, the response has a `challenge`: answering it may finish the upload
    without sending the bytes.
    """
    digests = {"sha256": new.sha256, "md5": new.md5, "sha1": new.sha1}
    upload = await hub.transfers.uploads.create(
        principal,
        transfers.NewUpload(
            name=new.name,
            length=new.length,
            category=new.category,
            content_type=new.content_type,
            metadata=new.metadata,
            tags=tuple(new.tags),
            only_if_absent=new.only_if_absent or absent,
            expected={name: value for name, value in digests.items() if value},
            task=new.task,
        ),
    )
    response.headers["Location"] = path_of(request, f"/api/v1/uploads/{upload.id}")
    return Upload.of(upload)


@router.get("", summary="List open uploads")
async def list_uploads(
    *,
    hub: HubDep,
    principal: PrincipalDep,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    after: Annotated[str, Query(max_length=64)] = "",
    everyone: Annotated[bool, Query(description="Uploads of all owners. Admins only.")] = False,
) -> UploadList:
    """List unfinished uploads, oldest first."""
    found = await hub.transfers.uploads.list(principal, after=after, limit=limit, everyone=everyone)
    following = found[-1].id if len(found) == limit else None
    return UploadList(items=[Upload.of(upload) for upload in found], next=following)


@router.get("/{id}", summary="Read an upload", responses=documented(404, 410))
async def get_upload(id: UploadId, hub: HubDep, principal: PrincipalDep) -> Upload:  # noqa: A002
    """Return what is on disk, without waiting for requests that are writing."""
    return await _shown(hub, principal, await hub.transfers.uploads.get(principal, id))


@router.put(
    "/{id}/parts/{offset}",
    summary="Send a part",
    responses=documented(403, 404, 408, 409, 410, 413, 507),
    openapi_extra=_BINARY,
)
async def put_part(
    *,
    id: UploadId,  # noqa: A002
    offset: Annotated[int, Path(ge=0, le=(1 << 62) - 1, description="Offset of the part.")],
    request: Request,
    hub: HubDep,
    principal: PrincipalDep,
    content_digest: Annotated[
        str | None, Header(description="`sha-256=:base64:` of this body (RFC 9530), verified.")
    ] = None,
) -> Upload:
    """Store the body at *offset*; it is on disk when the response is sent.

    Parts may be sent in any order, in parallel and repeatedly. Bytes that differ from those
    already stored are refused; a newer request for the same bytes takes over from an older one.
    """
    addition = AppendRequest(
        offset,
        size=announced(request),
        part=True,
        checked=content_digest is not None,
        digest=partial(_part_digest, content_digest) if content_digest else no_digest,
    )
    _ = content_digest and _part_digest(content_digest)
    source = partial(pump, request)
    upload = await hub.transfers.uploads.append(principal, id, source, addition, finish=False)
    return Upload.of(upload)


@router.post(
    "/{id}/finish",
    status_code=201,
    summary="Finish an upload",
    responses=documented(404, 409, 410, 412, 413, 507),
)
async def finish_upload(
    *,
    id: UploadId,  # noqa: A002
    request: Request,
    response: Response,
    hub: HubDep,
    principal: PrincipalDep,
    how: Finish | None = None,
) -> File:
    """Create the file, atomically, from a complete upload. Repeating returns the same file."""
    how = how or Finish()
    version = await hub.transfers.uploads.finish(
        principal, id, length=how.length, sha256=how.sha256
    )
    if version is None:
        raise Conflict("A partial upload cannot become a file by itself.", {"id": id})
    return _made(request, response, version)


@router.post(
    "/{id}/proof",
    status_code=201,
    summary="Finish without sending",
    responses=documented(403, 404, 409, 410, 412),
)
async def prove(
    *,
    id: UploadId,  # noqa: A002
    answer: Proof,
    request: Request,
    response: Response,
    hub: HubDep,
    principal: PrincipalDep,
) -> File:
    """Create the file by proving that you have bytes the hub already has. 403: send the bytes.

    The proof is the SHA-256 of the challenge's nonce (32 bytes) followed by the file's bytes at the
    challenge's places.
    """
    return _made(request, response, await hub.transfers.uploads.prove(principal, id, answer.proof))


@router.delete("/{id}", status_code=204, summary="Abort", responses=documented(404, 410))
async def abort_upload(id: UploadId, hub: HubDep, principal: PrincipalDep) -> None:  # noqa: A002
    """Abort an upload and drop its bytes. The file of a finished upload stays.

    Admins may abort any upload.
    """
    await hub.transfers.uploads.abort(principal, id)


def _made(request: Request, response: Response, version: FileVersion) -> File:
    file = File.of(version)
    response.headers["Location"] = path_of(request, f"/api/v1/files/{file.id}")
    return file


def _part_digest(header: str) -> PartDigest:
    algorithm, value = next(iter(from_digest_field(header).items()))
    return PartDigest(algorithm, value)


async def _shown(hub: Hub, principal: Principal, upload: transfers.Upload) -> Upload:
    version = await hub.transfers.uploads.version(principal, upload)
    return Upload.of(upload, File.of(version) if version else None)
