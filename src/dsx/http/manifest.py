"""A dataset's manifest as streamed JSON, the same in every protocol."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence

from fastapi import Request
from starlette.responses import Response, StreamingResponse

from dsx.core.model import ManifestEntry
from dsx.core.principals import Principal
from dsx.http.conditions import not_modified
from dsx.hub.datasets import Datasets


async def manifest_response(
    request: Request, datasets: Datasets, principal: Principal, dataset: str
) -> Response:
    """Respond with the manifest as one JSON array, with an ETag that changes with the index.

    The first manifest of a large dataset is sent while it is built, without an ETag.
    """
    etag = await datasets.manifest_etag(principal, dataset)
    headers = {"Cache-Control": "private, no-cache"}
    if etag is not None:
        headers["ETag"] = f'"{etag}"'
        if not_modified(request.headers, etag):
            return Response(status_code=304, headers=headers)
    batches = datasets.manifest(dataset)
    return StreamingResponse(_array(batches), 200, headers, "application/json")


async def _array(batches: AsyncIterator[Sequence[ManifestEntry]]) -> AsyncIterator[bytes]:
    separator = "["
    async for batch in batches:
        if batch:
            yield (separator + ",".join(map(_entry, batch))).encode()
            separator = ","
    yield b"]" if separator == "," else b"[]"


def _entry(entry: ManifestEntry) -> str:
    return json.dumps(
        {
            "path": entry.path,
            "size": entry.size,
            "hash": entry.hash,
            "sha256": entry.sha256,
            "etag": entry.etag,
            "mtime": entry.mtime_ns / 1e9,
        }
    )
