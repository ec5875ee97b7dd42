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
    """Reserve room for a file and get a place to send its parts to.

    If you tell its `sha256`, the answer has a `challenge`: answering it may finish the upload
    without its bytes.
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
    everyone: Annotated[bool, Query(description="Those of all owners; for admins.")] = False,
) -> UploadList:
    """The uploads that are not finished yet, oldest first."""
    found = await hub.transfers.uploads.list(principal, after=after, limit=limit, everyone=everyone)
    following = found[-1].id if len(found) == limit else None
    return UploadList(items=[Upload.of(upload) for upload in found], next=following)


@router.get("/{id}", summary="Read an upload", responses=documented(404, 410))
async def get_upload(id: UploadId, hub: HubDep, principal: PrincipalDep) -> Upload:  # noqa: A002
    """What is on disk of it; never waits for who is writing."""
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
    offset: Annotated[int, Path(ge=0, le=(1 << 62) - 1, description="Where the bytes go.")],
    request: Request,
    hub: HubDep,
    principal: PrincipalDep,
    content_digest: Annotated[
        str | None, Header(description="Of this body: `sha-256=:base64:` (RFC 9530), verified.")
    ] = None,
) -> Upload:
    """Store the body at *offset*; when the answer comes, it is on disk.

    Parts may come in any order, in parallel and again. Other bytes for what has arrived before are
    refused; a newer request for the same bytes takes over from an older one.
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
    """Make the file, in one step, once all bytes are there. Finishing again gives the same file."""
    how = how or Finish()
    version = await hub.transfers.uploads.finish(
        principal, id, length=how.length, sha256=how.sha256
    )
    if version is None:
        raise Conflict("The upload is a partial one: it becomes no file by itself.", {"id": id})
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
    """Prove that you have bytes that the hub has, and get the file. 403: send the bytes.

    The proof is the SHA-256 of the challenge's nonce (32 bytes) followed by the file's bytes at the
    challenge's places.
    """
    return _made(request, response, await hub.transfers.uploads.prove(principal, id, answer.proof))


@router.delete("/{id}", status_code=204, summary="Abort", responses=documented(404, 410))
async def abort_upload(id: UploadId, hub: HubDep, principal: PrincipalDep) -> None:  # noqa: A002
    """Drop the upload and its bytes. A finished one has become a file, and stays.

    An admin may abort anybody's.
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
