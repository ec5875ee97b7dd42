"""Files in numbered chunks: any sizes, any order, repeated, in parallel, through any worker.

Each chunk is a partial upload; its place is recorded once it has been read, since a form may name
it after the bytes. The last missing chunk triggers a final upload that joins them. Chunks belong
together if they have the same owner (and token limits), name, number of chunks and checksum: the
hash of these is the key.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import uuid_utils
from sqlalchemy import Connection

from dsx.catalog import chunks as records
from dsx.catalog import files, uploads
from dsx.catalog.chunks import Chunk
from dsx.catalog.database import Catalog
from dsx.core.digest import Buffer, Hasher
from dsx.core.errors import (
    Conflict,
    DigestMismatch,
    DSXError,
    Gone,
    Superseded,
    Unprocessable,
)
from dsx.core.model import FileVersion
from dsx.core.names import check_file_name, check_label
from dsx.core.principals import Principal
from dsx.core.shield import run_to_completion
from dsx.core.transfers import ALGORITHMS, NewUpload
from dsx.hub.accounts import access
from dsx.hub.clock import SECOND, now
from dsx.hub.files.receiver import hash_beside
from dsx.hub.files.validation import DEFAULT_CATEGORY
from dsx.hub.limits import Limits
from dsx.hub.transfers.append_request import AppendRequest, BodySource
from dsx.hub.transfers.creation import MAX_PARTS, check_digests
from dsx.hub.transfers.staged import require_set
from dsx.hub.transfers.uploads import Uploads
from dsx.hub.transfers.writer import Write

_PATIENCE = 30.0
_STEP = 0.2
_BY_LENGTH = {2 * size: name for name, size in ALGORITHMS.items()}


@dataclass(frozen=True, slots=True)
class ChunkInfo:
    """The place of a chunk.

    Attributes:
        name: of the file; identifies the set of chunks with *total* and *checksum*.
        index: from 0 on.
        total: number of chunks of the file.
        category: of the file; the chunk that completes it decides.
        checksum: MD5, SHA-1 or SHA-256 of the file in hexadecimal, by length; "": not checked.
    """

    name: str
    index: int
    total: int
    category: str | None = None
    checksum: str = ""
    only_if_absent: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """The number of chunks *received* of a file, and the file once it is complete."""

    received: int
    version: FileVersion | None


@dataclass(frozen=True, slots=True)
class _Placed:
    """The result of placing a chunk: *parts* are all chunks, if the file can be joined."""

    kept: bool
    received: int
    final: str = ""
    parts: Sequence[str] = ()
    version: FileVersion | None = None


class Chunks:
    """Receives chunks; their state is in the catalog, none is in this process."""

    def __init__(self, catalog: Catalog, uploads: Uploads, limits: Limits) -> None:
        self._catalog = catalog
        self._uploads = uploads
        self._stages = uploads.stages
        self._limits = limits
        self._expiry = int(limits.expiry * SECOND)

    async def add(
        self,
        principal: Principal,
        source: BodySource,
        told: Callable[[], ChunkInfo],
        announced: int | None = None,
    ) -> Progress:
        """Store the chunk of *source*; *told* returns its place once it is read.

        *announced*: the length of its body, if known.

        When this returns, the chunk is on disk, and so is the file if it was the last one.
        Repeating a chunk changes nothing, even once the file is complete, as long as that is still
        the newest of its name. Raises `Unprocessable` for invalid numbers and checksums, `Invalid`
        for a bad name or category, `Conflict` if the chunk was received before with other bytes,
        `TooLarge` or `StorageFull` without space, and `DigestMismatch` if the file does not match
        its checksum: then all its chunks are dropped, and may be sent again.
        """
        id_, hasher = await self._receive(principal, source, announced)
        try:
            place = told()
            expected = _check(place)
            access.require_place(principal, place.name, place.category or DEFAULT_CATEGORY)
            chunk = Chunk(place.index, id_, hasher.size, hasher.digest)
            key = _key(principal, place)
            placed = await self._catalog.write(partial(self._place, principal, place, key, chunk))
        except BaseException:
            await run_to_completion(self._drop(principal, id_))
            raise
        if not placed.kept:
            await self._drop(principal, id_)
        if placed.version is not None or not placed.parts:
            return Progress(placed.received, placed.version)
        whole = NewUpload(
            id=placed.final,
            kind="final",
            name=place.name,
            category=place.category,
            expected=expected,
            only_if_absent=place.only_if_absent,
            parts=tuple(placed.parts),
        )
        return Progress(placed.received, await self._join(principal, key, whole))

    async def _receive(
        self, principal: Principal, source: BodySource, announced: int | None
    ) -> tuple[str, Hasher]:
        """Return a finished partial upload with the bytes, and their hash; on failure, nothing."""
        hasher = Hasher()

        async def hashed(write: Write, gate: Callable[[], Awaitable[None]]) -> None:
            def take(data: Buffer) -> None:
                with hash_beside(hasher.update, data):
                    write(data)

            await source(take, gate)

        upload = await self._uploads.create(principal, NewUpload(kind="partial"))
        try:
            # "checked": nothing is recorded on the way, since half a chunk is useless.
            addition = AppendRequest(0, last=True, checked=True, announced=announced)
            await self._uploads.append(principal, upload.id, hashed, addition)
        except BaseException:
            await run_to_completion(self._drop(principal, upload.id))
            raise
        return upload.id, hasher

    def _place(
        self, principal: Principal, place: ChunkInfo, key: str, chunk: Chunk, connection: Connection
    ) -> _Placed:
        """Record the place of *chunk*, unless it was there before (in a transaction)."""
        instant, every = now(), self._expiry // 8
        expires = instant + self._expiry
        records.lock_chunks(connection, key)
        final, version = self._final(connection, principal, key)
        if version is None:
            require_set(key, records.staging_of(connection, key), self._stages)
        known = records.find(connection, key, place.index)
        if known is not None and version is None and not _there(connection, principal, known):
            records.drop(connection, key, place.index)
            known = None
        if known is not None and known.sha256 != chunk.sha256:
            raise _other_bytes(place)
        if known is None:
            records.add(connection, key, chunk, expires + every)
        received, size = records.extent(connection, key)
        if version is not None:
            return _Placed(False, received, version=version)
        self._limits.check_size(size)
        self._limits.check_quota(connection, principal.id, 0)  # its chunks already count
        records.keep(connection, key, instant, expires, every)
        if received == place.total:
            received -= records.drop_lost(connection, key)
        parts = records.parts(connection, key) if received == place.total else ()
        return _Placed(known is None, received, final, parts)

    def _final(
        self, connection: Connection, principal: Principal, key: str
    ) -> tuple[str, FileVersion | None]:
        """Return the id of the upload that joins the chunks, created if needed, and its file.

        A file that was deleted or replaced since does not count: its chunks make a new one.
        """
        fresh = str(uuid_utils.uuid7())
        final = records.final_of(connection, key)
        upload = uploads.find(connection, principal.id, final) if final else None
        if upload is not None and upload.version is not None:
            version = files.find_number(connection, upload.version)
            if version is not None and version.latest and version.trashed is None:
                return upload.id, version
            records.forget(connection, key)
            final = None
        if final is None:
            expires = now() + self._expiry
            begun = {"final": fresh, "staging_id": self._stages.staging_id}
            records.begin(connection, key, now(), expires, **begun)
            return fresh, None
        if upload is not None and upload.state in {"aborted", "expired"}:
            records.rejoin(connection, key, fresh)
            return fresh, None
        return final, None

    async def _join(self, principal: Principal, key: str, whole: NewUpload) -> FileVersion:
        """Make the file; a repeated chunk, also after a crash, continues this."""
        assert whole.id is not None
        try:
            await self._uploads.create(principal, whole)
            version = await self._finish(principal, whole.id)
        except (DigestMismatch, Gone) as error:
            await self._catalog.write(partial(_give_up, key, whole.id))
            await self._drop(principal, whole.id)
            raise type(error)(
                "The chunks were lost or do not match the file's checksum; they were "
                "deleted: send all of them again.",
                error.details,
            ) from None
        await self._catalog.write(partial(records.release, key=key, now=now()), durable=False)
        return version

    async def _finish(self, principal: Principal, id_: str) -> FileVersion:
        """Return the file of the final upload, even if another request finishes it first."""
        try:
            version = await self._uploads.finish(principal, id_)
        except DSXError as error:
            version = await self._made_by_another(
                principal, id_, wait=isinstance(error, Superseded)
            )
            if version is None:
                raise
        assert version is not None  # only partial uploads become no file
        return version

    async def _made_by_another(
        self, principal: Principal, id_: str, *, wait: bool
    ) -> FileVersion | None:
        """Return the file another request makes of the final upload; *wait*: it may be working."""
        deadline = time.monotonic() + (_PATIENCE if wait else 0)
        while True:
            upload = await self._uploads.get(principal, id_)
            version = await self._uploads.version(principal, upload)
            if version is not None or time.monotonic() > deadline:
                return version
            await asyncio.sleep(_STEP)

    async def _drop(self, principal: Principal, id_: str) -> None:
        with suppress(DSXError):  # it is deleted, or will expire
            await self._uploads.abort(principal, id_)


def _check(place: ChunkInfo) -> dict[str, str]:
    """Return the expected digest of the file, by algorithm, if the chunk's place is valid."""
    check_file_name(place.name)
    if place.category:
        check_label("A category", place.category)
    if not 1 <= place.total <= MAX_PARTS:
        raise Unprocessable(f"A file has 1 to {MAX_PARTS} chunks.", {"field": "totalChunks"})
    if not 0 <= place.index < place.total:
        raise Unprocessable(
            f"Chunks are numbered from 0 to {place.total - 1}.", {"field": "chunkIndex"}
        )
    if not place.checksum:
        return {}
    try:
        return check_digests({_BY_LENGTH.get(len(place.checksum), "checksum"): place.checksum})
    except DSXError:
        raise Unprocessable(
            "A checksum must be the MD5, SHA-1 or SHA-256 of the file in hexadecimal.",
            {"field": "checksum"},
        ) from None


def _key(principal: Principal, place: ChunkInfo) -> str:
    # Chunks of a limited token are visible to no other; see `access.upload`.
    limits = [] if principal.places is None else [principal.via]
    what = [principal.id, limits, place.name, place.total, place.checksum.lower()]
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()


def _there(connection: Connection, principal: Principal, chunk: Chunk) -> bool:
    upload = uploads.find(connection, principal.id, chunk.upload)
    return upload is not None and upload.state == "finished"


def _other_bytes(place: ChunkInfo) -> Conflict:
    return Conflict(
        f"Chunk {place.index} of {place.name!r} was already received with other "
        "bytes. To send another file of that name, give its checksum, which keeps "
        "the chunks apart.",
        {"field": "chunkIndex", "chunk": place.index},
    )


def _give_up(key: str, final: str, connection: Connection) -> None:
    """Delete the chunks' record, unless others have begun again (in a transaction)."""
    records.lock_chunks(connection, key)
    if records.final_of(connection, key) == final:
        records.release(connection, key, now())
        records.forget(connection, key)
