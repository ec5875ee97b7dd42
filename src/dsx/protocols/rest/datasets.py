"""``/api/v1/datasets``: directories served in place."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Request
from starlette.responses import Response, StreamingResponse

from dsx.http.credentials import HubDep, PrincipalDep
from dsx.http.manifest import manifest_response
from dsx.http.prefix_router import PrefixRouter
from dsx.http.problems import documented
from dsx.http.routes import body_bound
from dsx.http.send import DOWNLOADS, ContentResponse
from dsx.protocols.rest.models import Dataset, DatasetList, PackRequest

router = PrefixRouter(prefix="/datasets", tags=["datasets"])

DatasetName = Annotated[str, Path(description="Name of a dataset.", examples=["imagenet"])]

_MANIFEST_EXAMPLE = {
    "path": "train/img_001.jpg",
    "size": 123456,
    "hash": "d41d8cd98f00b204e9800998ecf8427e",
    "sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "etag": "18c0ffee-1e240-0a1b2c3d4e5f",
    "mtime": 1769860800.0,
}


@router.get("", summary="List datasets")
async def list_datasets(hub: HubDep, principal: PrincipalDep) -> DatasetList:
    """List the directories under DSX_DATASET_PATH, with the progress of their indexes."""
    return DatasetList(items=[Dataset.of(info) for info in await hub.datasets.list(principal)])


@router.get("/{dataset}", summary="Read a dataset's state", responses=documented(404, 503))
async def get_dataset(dataset: DatasetName, hub: HubDep, principal: PrincipalDep) -> Dataset:
    """Return a dataset's size, number of files and index progress."""
    return Dataset.of(await hub.datasets.info(principal, dataset))


@router.get(
    "/{dataset}/manifest",
    summary="List a dataset's files",
    response_class=Response,
    responses={
        200: {"content": {"application/json": {"example": [_MANIFEST_EXAMPLE]}}},
        304: {"description": "Your copy is current (If-None-Match)."},
        **documented(404, 503),
    },
)
async def get_manifest(
    request: Request, dataset: DatasetName, hub: HubDep, principal: PrincipalDep
) -> Response:
    """Stream every file with its size, fingerprint and, once it has been hashed, its SHA-256.

    Sorted by path. The first manifest of a large dataset is sent while it is built: unsorted and
    without an ETag.
    """
    return await manifest_response(request, hub.datasets, principal, dataset)


@router.get(
    "/{dataset}/files/{path:path}",
    operation_id="download_dataset_file",
    summary="Download a file of a dataset",
    response_class=Response,
    responses=DOWNLOADS | documented(404, 412, 416, 503),
)
@router.head(
    "/{dataset}/files/{path:path}",
    operation_id="download_dataset_file_head",
    summary="Read the headers of a dataset's file",
    response_class=Response,
    responses=DOWNLOADS | documented(404, 412, 416, 503),
)
async def download_dataset_file(
    request: Request, dataset: DatasetName, path: str, hub: HubDep, principal: PrincipalDep
) -> ContentResponse:
    """Return the bytes, whole or in ranges, with ETag, conditions and, if known, Repr-Digest.

    `Cache-Control: no-cache` reports that the bytes did not match the digest: the file is hashed
    again before the digest is sent again.
    """
    recheck = "no-cache" in request.headers.get("cache-control", "")
    content = await hub.datasets.content(principal, dataset, path, recheck=recheck)
    return ContentResponse(request, content)


@router.post(
    "/{dataset}/pack",
    summary="Download many small files as one TAR",
    response_class=Response,
    responses={
        200: {"content": {"application/x-tar": {"schema": {"type": "string"}}}},
        **documented(404, 413, 503),
    },
)
@body_bound(8 * 1024 * 1024)
async def pack_dataset(
    dataset: DatasetName, wanted: PackRequest, hub: HubDep, principal: PrincipalDep
) -> StreamingResponse:
    """Stream files as one TAR in the requested order, SHA-256 in pax record `DSX.sha256`.

    A file that disappears meanwhile is left out. After a broken connection, repeat the request
    with `start` set to the number of listed files already received.
    """
    stream = await hub.datasets.pack(principal, dataset, wanted.paths, wanted.start)
    return StreamingResponse(stream, media_type="application/x-tar")
