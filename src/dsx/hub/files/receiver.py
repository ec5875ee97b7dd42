"""Receives bytes: hashes and stages them as they arrive, then seals them into a blob."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from dsx.blobs.contract import Stage
from dsx.core.digest import Buffer, Digest, Hasher
from dsx.core.errors import DigestMismatch, StorageFailed
from dsx.core.model import BlobInfo
from dsx.hub.files.allowances import Allowance
from dsx.hub.limits import too_large

_LARGE = 64 * 1024
_hashers = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="hash")
"""Large pieces are hashed while being written: SHA-256 takes as long as the copy to the disk."""


@contextmanager
def hash_beside(update: Callable[..., object], *arguments: Any) -> Iterator[None]:
    """Call *update*, whose last argument are bytes, by the end of the block; in a thread if many.

    Large pieces are hashed even if the block fails.
    """
    beside = len(arguments[-1]) >= _LARGE
    hashing = _hashers.submit(update, *arguments) if beside else None
    try:
        yield
    finally:
        if hashing is not None:
            hashing.result()
    if hashing is None:
        update(*arguments)


class Receiver:
    """One incoming stream that becomes a blob; ``write`` takes its bytes in order.

    Attributes:
        sealed: whether it has become a blob.
    """

    def __init__(self, stage: Stage, limit: int | None, allowance: Allowance) -> None:
        """Collect at most *limit* bytes (None: no limit) in *stage*, within *allowance*."""
        self._allowance = allowance
        self._stage = stage
        self._limit = limit
        self._hasher = Hasher()
        self.sealed = False

    @property
    def size(self) -> int:
        """Bytes received so far."""
        return self._hasher.size

    def write(self, data: Buffer) -> None:
        """Write the next bytes (blocking). `TooLarge` over the limit, `StorageFull` without space.

        `TooLarge` also over the quota, as soon as it is reached.
        """
        start = self.size
        if self._limit is not None and start + len(data) > self._limit:
            raise too_large(self._limit)
        self._allowance.add(len(data))
        with hash_beside(self._hasher.update, data):
            self._stage.write(start, data)

    async def finish(self, expected: Digest | None = None) -> BlobInfo:
        """Make the bytes durable; `DigestMismatch` unless they match *expected*.

        `StorageFailed` if that fails; then all of them have to be received again.
        """
        digest = self._hasher.digest
        if expected is not None and digest != expected:
            raise DigestMismatch(
                "The bytes do not match their digest: they changed in transit; send them again.",
                {"expected": expected, "received": digest},
            )
        await asyncio.to_thread(self._stage.sync)
        return BlobInfo(digest, self.size, self._hasher.crc32)

    async def prepare(self, blob: BlobInfo) -> None:
        """Do the slow part of ``seal`` before others have to wait for it: `Stage.prepare`."""
        with as_received():
            await self._stage.prepare(blob.digest, blob.size)

    def seal(self, blob: BlobInfo) -> None:
        """Turn the bytes into the blob that ``finish`` described (blocking)."""
        with as_received():
            self._stage.seal(blob.digest, blob.size)
        self.sealed = True

    async def abandon(self) -> None:
        """Drop the bytes unless sealed. Idempotent, and harmless after ``seal``."""
        self._allowance.close()
        await self._stage.discard()

    def recorded(self) -> None:
        """Release the allowance: the catalog counts the bytes now, as a file's."""
        self._allowance.recorded(self.size)


@contextmanager
def as_received() -> Iterator[None]:
    """Convert `DigestMismatch` while sealing bytes already hashed to `StorageFailed`."""
    try:
        yield
    except DigestMismatch:
        raise StorageFailed(
            "The bytes on disk differ from the bytes received; send them again."
        ) from None
