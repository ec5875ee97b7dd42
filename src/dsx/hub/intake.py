"""Receives bytes: hashes and stages them as they arrive, then seals them into a blob."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future, ThreadPoolExecutor

from dsx.blobs.contract import Stage
from dsx.core.digest import Buffer, Digest, Hasher
from dsx.core.errors import DigestMismatch, TooLarge
from dsx.core.model import BlobInfo

_FLUSH = 64 * 1024 * 1024
_flushers = ThreadPoolExecutor(4, thread_name_prefix="flush")


class Receiver:
    """One stream of bytes on its way to becoming a blob.

    ``write`` is blocking and takes the bytes in order. While it goes on, what has been written is
    already being made durable beside it, so that ``finish`` does not have to wait for it all.
    """

    def __init__(self, stage: Stage, limit: int | None) -> None:
        """Collect at most *limit* bytes (None: any number) in *stage*."""
        self._stage = stage
        self._limit = limit
        self._hasher = Hasher()
        self._flushed = 0
        self._flush: Future[None] | None = None

    @property
    def size(self) -> int:
        """Bytes received so far."""
        return self._hasher.size

    def write(self, data: Buffer) -> None:
        """Take the next bytes (blocking). `TooLarge` over the limit, `StorageFull` without room."""
        if self._limit is not None and self.size + len(data) > self._limit:
            raise too_large(self._limit)
        self._stage.write(self.size, data)
        self._hasher.update(data)
        if self.size - self._flushed >= _FLUSH and (self._flush is None or self._flush.done()):
            self._wait_for_flush()
            self._flushed = self.size
            self._flush = _flushers.submit(self._stage.sync)

    async def finish(self, expected: Digest | None = None) -> BlobInfo:
        """Make the bytes durable; `DigestMismatch` if they are not the *expected* ones."""
        digest = self._hasher.digest
        if expected is not None and digest != expected:
            raise DigestMismatch(
                "The bytes are not the ones announced: they were changed on the way; send again.",
                {"expected": expected, "received": digest},
            )
        await asyncio.to_thread(self._settle)
        return BlobInfo(digest, self.size, self._hasher.crc32)

    async def seal(self, blob: BlobInfo) -> None:
        """Turn the bytes into the blob that ``finish`` described."""
        await self._stage.seal(blob.digest, blob.size)

    async def abandon(self) -> None:
        """Drop what was not sealed. Idempotent, and harmless after ``seal``."""
        await asyncio.to_thread(self._drain)
        await self._stage.discard()

    def _settle(self) -> None:
        self._wait_for_flush()
        self._stage.sync()

    def _wait_for_flush(self) -> None:
        """Let the flush beside us end; its failure is ours: the kernel reports it only once."""
        if self._flush is not None:
            self._flush.result()
            self._flush = None

    def _drain(self) -> None:
        if self._flush is not None:
            self._flush.exception()


def too_large(limit: int) -> TooLarge:
    """The failure of a file over *limit* bytes."""
    return TooLarge(f"A file has at most {limit} bytes here.", {"limit": limit})
