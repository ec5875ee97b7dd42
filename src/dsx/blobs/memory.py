"""Blobs in memory: the reference model of the contract, and a store for throw-away hubs."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator, Iterable, Sequence

from dsx.blobs.contract import BlobStore, Quarantined, Stage, Stages, check_stage_id
from dsx.core.digest import Buffer, Digest, digest_of
from dsx.core.errors import DigestMismatch, NotFound, RangeUnsatisfiable
from dsx.core.ranges import ByteRange

CHUNK = 1024 * 1024


class MemoryStore(BlobStore, Stages):
    """A dict. Nothing survives the process: the one guarantee it does not give."""

    def __init__(self) -> None:
        self.blobs: dict[Digest, bytes] = {}
        self.staged: dict[str, MemoryStage] = {}
        self.staging_id = str(uuid.uuid4())
        self.aside: dict[Digest, tuple[bytes, int]] = {}
        self.note: bytes | None = None

    async def put(self, digest: Digest, size: int, chunks: AsyncIterator[bytes]) -> None:
        """See `BlobStore.put`."""
        if digest in self.blobs:
            return
        data = bytearray()
        async for chunk in chunks:
            data += chunk
        if len(data) != size or digest_of(data) != digest:
            raise DigestMismatch("The bytes do not match the expected digest and size.")
        self.blobs[digest] = bytes(data)

    async def open(
        self, digest: Digest, range_: ByteRange | None = None
    ) -> tuple[int, AsyncIterator[bytes]]:
        """See `BlobStore.open`."""
        if digest not in self.blobs:
            raise NotFound(f"There is no blob {digest}.")
        data = self.blobs[digest]
        wanted = range_ or ByteRange(0, len(data))
        if wanted.stop > len(data) or wanted.start > wanted.stop:
            raise RangeUnsatisfiable(f"The blob has {len(data)} bytes.", {"size": len(data)})
        return len(data), _chunks(data[wanted.start : wanted.stop])

    async def stat(self, digests: Iterable[Digest]) -> dict[Digest, int]:
        """See `BlobStore.stat`."""
        return {digest: len(self.blobs[digest]) for digest in digests if digest in self.blobs}

    async def list(self, after: Digest | None = None, limit: int = 1000) -> Sequence[Digest]:
        """See `BlobStore.list`."""
        return sorted(digest for digest in self.blobs if digest > (after or ""))[: max(0, limit)]

    async def delete(self, digests: Iterable[Digest]) -> None:
        """See `BlobStore.delete`."""
        for digest in digests:
            self.blobs.pop(digest, None)

    async def quarantine(self, digests: Iterable[Digest]) -> None:
        """See `BlobStore.quarantine`."""
        for digest in digests:
            if digest in self.blobs:
                self.aside[digest] = self.blobs.pop(digest), time.time_ns() // 1000

    async def quarantined(
        self, after: Digest | None = None, limit: int = 1000
    ) -> Sequence[Quarantined]:
        """See `BlobStore.quarantined`."""
        found = sorted(item for item in self.aside.items() if item[0] > (after or ""))
        return [
            Quarantined(digest, len(data), since)
            for digest, (data, since) in found[: max(0, limit)]
        ]

    async def release(self, digests: Iterable[Digest]) -> None:
        """See `BlobStore.release`."""
        for digest in digests:
            if digest in self.aside:
                self.blobs.setdefault(digest, self.aside.pop(digest)[0])

    async def expunge(self, digests: Iterable[Digest]) -> None:
        """See `BlobStore.expunge`."""
        for digest in digests:
            self.aside.pop(digest, None)

    async def label(self) -> bytes | None:
        """See `BlobStore.label`."""
        return self.note

    async def set_label(self, note: bytes) -> None:
        """See `BlobStore.set_label`."""
        self.note = note

    async def stage(
        self, id_: str | None = None, reserve: int = 0, *, existing: bool = False
    ) -> Stage:
        """See `Stages.stage`."""
        _ = reserve
        name = uuid.uuid4().hex if id_ is None else check_stage_id(id_)
        if existing and name not in self.staged:
            raise NotFound(f"There is no stage {name}.")
        stage = self.staged.setdefault(name, MemoryStage(self, name))
        stage.held += 1
        return stage

    async def successor(self, id_: str, span: ByteRange) -> Stage | None:
        """See `Stages.successor`."""
        known = self.staged.get(id_)
        occupied = known.occupied if known else ()
        if any(one.start < span.stop and span.start < one.stop for one in occupied):
            return await self.stage()
        return None

    async def room(self) -> int | None:
        """See `Stages.room`."""
        return None

    async def stages(self) -> Sequence[str]:
        """See `Stages.stages`."""
        return sorted(self.staged)

    async def sweep(self, ids: Iterable[str]) -> int:
        """See `Stages.sweep`."""
        dead = [name for name in ids if name in self.staged and not self.staged[name].held]
        for name in dead:
            del self.staged[name]
        return len(dead)

    async def aclose(self) -> None:
        """See `BlobStore.aclose`."""


class MemoryStage(Stage):
    """A bytearray."""

    def __init__(self, store: MemoryStore, name: str) -> None:
        self.id = name
        self.held = 0
        self.occupied: list[ByteRange] = []
        self._store = store
        self._data = bytearray()
        self._sealed: tuple[Digest, int] | None = None

    def write(self, offset: int, data: Buffer) -> None:
        """See `Stage.write`."""
        self._data.extend(bytes(max(0, offset - len(self._data))))
        self._data[offset : offset + len(data)] = data

    def occupy(self, span: ByteRange) -> None:
        """See `Stage.occupy`."""
        self.occupied.append(span)

    def sync(self) -> None:
        """See `Stage.sync`."""

    def read(self, offset: int, size: int) -> bytes:
        """See `Stage.read`."""
        return bytes(self._data[offset : offset + size])

    def supersede(self, id_: str) -> None:
        """See `Stage.supersede`."""
        self._store.staged[id_] = self._store.staged.pop(self.id)
        self.id = id_

    def is_current(self) -> bool:
        """See `Stage.is_current`."""
        return self._store.staged.get(self.id) is self

    def seal(self, digest: Digest, size: int) -> None:
        """See `Stage.seal`."""
        if self._sealed == (digest, size):
            return
        if len(self._data) < size:
            raise DigestMismatch(f"The upload has fewer than {size} bytes.")
        self._store.blobs.setdefault(digest, bytes(self._data[:size]))
        self._store.staged.pop(self.id, None)
        self._sealed = (digest, size)

    async def discard(self) -> None:
        """See `Stage.discard`."""
        self._store.staged.pop(self.id, None)

    def close(self) -> None:
        """See `Stage.close`."""
        self.held = max(0, self.held - 1)
        if not self.held:
            self.occupied.clear()


async def _chunks(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), CHUNK):
        yield data[start : start + CHUNK]
