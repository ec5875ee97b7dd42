"""Many small files as one TAR stream, which makes a thousand downloads as fast as one.

Built in a worker thread in large buffers. Small files are read whole and hashed on the way; large
ones are hashed before, unless the index has their digest, because a member's digest precedes its
content.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence

from dsx.core import tar_layout
from dsx.core.digest import Digest, Hasher, digest_of
from dsx.core.errors import Conflict, NotFound
from dsx.core.model import ManifestEntry
from dsx.hub.datasets.beneath import Tree
from dsx.hub.datasets.scan import Found, chunks

BUFFER = 1024 * 1024
_SMALL = 4 * BUFFER


Differs = Callable[[str, bool], Awaitable[None]]
"""Called with the path of a file that differs from its entry, and whether only its bytes differ."""


async def pack_entries(
    tree: Tree, pages: AsyncIterator[Sequence[ManifestEntry]], differs: Differs
) -> AsyncIterator[bytes]:
    """Yield a TAR of the existing files of *pages*, in buffers of about a MiB.

    Raises `Conflict` in the middle of the stream if a file changes while it is sent.
    """
    async for page in pages:
        seen: list[tuple[str, bool]] = []
        chunks = _members(tree, page, seen)
        while chunk := await asyncio.to_thread(next, chunks, None):
            yield chunk
        for path, same in seen:
            await differs(path, same)
    yield tar_layout.END


def _members(
    tree: Tree, entries: Sequence[ManifestEntry], differing: list[tuple[str, bool]]
) -> Iterator[bytes]:
    buffer = bytearray()
    for entry in entries:
        for chunk in _member(tree, entry, differing):
            buffer += chunk
            if len(buffer) >= BUFFER:
                yield bytes(buffer)
                buffer.clear()
    if buffer:
        yield bytes(buffer)


def _member(tree: Tree, entry: ManifestEntry, differing: list[tuple[str, bool]]) -> Iterator[bytes]:
    """Yield header, content and padding of one file as it is now; nothing if it was deleted."""
    try:
        descriptor = tree.open(entry.path)
    except NotFound:
        differing.append((entry.path, False))
        return
    try:
        found = Found.of(entry.path, os.fstat(descriptor))
        size, same = found.size, found.etag == entry.etag
        if size <= _SMALL:
            data = _read_exactly(descriptor, size, entry.path)
            digest, content = digest_of(data), iter((data,))
        else:
            digest = (entry.sha256 if same else None) or _hash(descriptor, size, entry.path)
            content = _chunks(descriptor, size, entry.path)
        if not same or digest != (entry.sha256 or digest):
            differing.append((entry.path, same))
        yield tar_layout.header(tar_layout.Member(entry.path, size, found.mtime_ns, digest))
        yield from content
        yield tar_layout.padding(size)
    finally:
        os.close(descriptor)


def _read_exactly(descriptor: int, size: int, path: str) -> bytes:
    data = os.pread(descriptor, size, 0)
    if len(data) != size:
        raise _changed(path)
    return data


def _hash(descriptor: int, size: int, path: str) -> Digest:
    hasher = Hasher()
    for chunk in _chunks(descriptor, size, path):
        hasher.update(chunk)
    return hasher.digest


def _chunks(descriptor: int, size: int, path: str) -> Iterator[bytes]:
    read = 0
    for chunk in chunks(descriptor, size):
        read += len(chunk)
        yield chunk
    if read != size:
        raise _changed(path)


def _changed(path: str) -> Conflict:
    return Conflict(f"{path!r} changed while it was being sent.")
