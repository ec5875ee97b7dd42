"""The content of stored files, to send."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from functools import partial

from dsx.blobs.contract import BlobStore, Locates
from dsx.core.content import Content, FileSlice, Piece, Stream
from dsx.core.disk import disk
from dsx.core.errors import Damaged, NotFound, RangeUnsatisfiable
from dsx.core.model import FileVersion
from dsx.core.ranges import ByteRange


def missing(version: FileVersion) -> Damaged:
    """Return the failure of a version whose blob is missing."""
    return Damaged(
        f"The content of {version.name!r} is missing from the store. Upload the same "
        "bytes again to restore it; an admin's `dsx scrub --now` finds what else is "
        "missing.",
        {"id": version.id, "sha256": version.sha256},
    )


def require_intact(version: FileVersion) -> None:
    """Raise `Damaged` if the bytes of *version* were found to be wrong or missing."""
    if version.damaged:
        raise damaged(version)


def damaged(version: FileVersion) -> Damaged:
    """Return the failure of a version whose bytes have changed."""
    return Damaged(
        f"The content of {version.name!r} is damaged and is not served. Upload the "
        "same bytes again to repair it.",
        {"id": version.id, "sha256": version.sha256},
    )


def blob_slice(blobs: BlobStore, version: FileVersion, start: int, stop: int) -> Piece:
    """Return bytes ``[start, stop)`` of a version: from the local file if there is one."""
    if isinstance(blobs, Locates):
        return FileSlice(partial(_open_blob, blobs, version), start, stop - start)
    return Stream(partial(_fetch, blobs, version, ByteRange(start, stop)), stop - start)


def content_of(blobs: BlobStore, version: FileVersion) -> Content:
    """Return the content of *version* for downloads; it, or sending it, may raise `Damaged`."""
    require_intact(version)
    return Content(
        size=version.size,
        content_type=version.content_type,
        etag=version.sha256,
        modified=version.created,
        filename=version.name.rsplit("/", 1)[-1],
        digest=version.sha256,
        pieces=partial(_pieces, blobs, version),
    )


async def _pieces(
    blobs: BlobStore, version: FileVersion, start: int, stop: int
) -> AsyncIterator[Piece]:
    yield blob_slice(blobs, version, start, stop)


def _open_blob(blobs: Locates, version: FileVersion) -> int:
    try:
        with disk():
            descriptor = os.open(blobs.locate(version.sha256), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise missing(version) from None
    if os.fstat(descriptor).st_size != version.size:
        os.close(descriptor)
        raise damaged(version)
    return descriptor


async def _fetch(blobs: BlobStore, version: FileVersion, wanted: ByteRange) -> AsyncIterator[bytes]:
    try:
        size, chunks = await blobs.open(version.sha256, wanted)
    except NotFound:
        raise missing(version) from None
    except RangeUnsatisfiable:
        raise damaged(version) from None
    if size != version.size:
        raise damaged(version)
    async for chunk in chunks:
        yield chunk
