"""Several files as one ZIP that has a length, an ETag and ranges like any other download."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Collection, Sequence
from functools import partial

from dsx.blobs.contract import BlobStore
from dsx.core import zip_layout as layout
from dsx.core.content import Content, Literal, Piece
from dsx.core.digest import Digest
from dsx.core.errors import Conflict, TooLarge
from dsx.core.model import FileVersion
from dsx.core.names import in_the_way
from dsx.core.shield import run_in_thread
from dsx.hub.files.content import blob_slice, missing, require_intact
from dsx.hub.files.files import Files
from dsx.hub.files.presence import Present, always_present

MAX_ENTRIES = 10_000
_FEW = 100
"""Archives of up to this many files are laid out without waiting for others."""


def check_count(files: int) -> None:
    """Raise `TooLarge` for more files than an archive may have."""
    if files > MAX_ENTRIES:
        raise TooLarge(f"An archive has at most {MAX_ENTRIES} files.", {"limit": MAX_ENTRIES})


def entry_names(versions: Sequence[FileVersion]) -> list[str]:
    """Return the names of *versions* in an archive; repeated ones get " (2)".

    `Conflict` if one of them would have to be both a file and a directory.
    """
    names = layout.distinct_names([version.name for version in versions])
    clash = in_the_way(names)
    if clash is not None:
        raise Conflict(
            f"{clash[0]!r} and {clash[1]!r} conflict: extracting the archive cannot "
            "create both a file and a directory of that name. Download one of them "
            "separately.",
            {"names": list(clash)},
        )
    return names


async def archive(
    versions: Sequence[FileVersion], files: Files, present: Present = always_present
) -> Content:
    """Return a ZIP of *versions* in that order; repeated names get " (2)".

    Large ones are laid out one at a time, while their clients are *present*. Raises `TooLarge` over
    10,000 entries, `Conflict` if a name is a directory in another one, `Damaged` if a version's
    bytes are damaged or missing.
    """
    check_count(len(versions))
    stored = await files.blobs.stat({version.sha256 for version in versions})
    if len(versions) <= _FEW:
        return _content(versions, stored, files.blobs)
    async with files.long:
        await present()
        return await run_in_thread(_content, versions, stored, files.blobs)


def _content(
    versions: Sequence[FileVersion], stored: Collection[Digest], blobs: BlobStore
) -> Content:
    for version in versions:
        require_intact(version)
        if version.sha256 not in stored:
            raise missing(version)
    names = entry_names(versions)
    entries = [
        layout.Entry(name, version.size, version.crc32, version.created)
        for name, version in zip(names, versions, strict=True)
    ]
    identity = "\n".join(
        f"{name}\0{version.sha256}\0{version.created}"
        for name, version in zip(names, versions, strict=True)
    )
    return Content(
        size=layout.total_size(entries),
        content_type="application/zip",
        etag=hashlib.sha256(identity.encode()).hexdigest(),
        modified=max((version.created for version in versions), default=0),
        filename="files.zip",
        digest=None,
        pieces=partial(_pieces, entries, versions, blobs),
    )


async def _pieces(
    entries: Sequence[layout.Entry],
    versions: Sequence[FileVersion],
    blobs: BlobStore,
    start: int,
    stop: int,
) -> AsyncIterator[Piece]:
    for part in layout.parts(entries, start, stop):
        if isinstance(part, layout.Header):
            yield Literal(part.data)
        else:
            yield blob_slice(blobs, versions[part.index], part.start, part.stop)
