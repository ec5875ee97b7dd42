"""Blobs in a bucket of an S3 engine; incoming bytes are local files.

The object ``blobs/ab/<digest>`` is a blob. Its key determines its content, so little is required of
engines: writing an object is atomic, a written object is visible to the next request, and equal
bytes may be written twice. There are no conditional writes, and listings are only used by `list`.

Bytes are collected in a stage directory and hashed there; they are hashed once more while being
sent to the bucket, and the last request, which creates the object, is sent only if the hash matches
its name. So no object ever appears under a digest it does not have.

Sending takes long, and sealing happens in a transaction of the catalog that others wait for. That
is what `Stage.prepare` is for: it sends the bytes, ``seal`` then checks that they are (still)
there. A removal of equal bytes holds the same lock as sealing does: either it has happened before,
and ``seal`` finds the bytes gone and sends them again, or it comes after the record is made and
spares them.

The operator must provide two things: a life-cycle rule that ends incomplete multipart uploads,
which a crash in the middle of sending leaves behind; and an engine that drops a request once its
sender has given up. A deletion that is carried out after the hub was informed of its failure
removes a blob that may have been stored again since.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store as Bucket

from dsx.blobs.contract import BlobStore, Quarantined
from dsx.blobs.s3_client import Clients, designed, meaning, words
from dsx.blobs.staging import StageDirectory, StageFile
from dsx.core.digest import Digest
from dsx.core.errors import Damaged, DigestMismatch, NotFound, RangeUnsatisfiable, Unavailable
from dsx.core.ranges import ByteRange

if TYPE_CHECKING:  # these only exist for type checkers
    from obstore import GetOptions, GetResult, ObjectMeta

T = TypeVar("T")
CHUNK = 1024 * 1024
PART = 8 * CHUNK
"""Blobs up to this size are sent in one request; others in parts of at least this size."""
_MAX_PARTS = 9_000
_PARTS_AT_ONCE = 4
_REQUESTS_AT_ONCE = 32
_RESUMPTIONS = 3
_PAGE = 1000
_FAREWELL = 5.0
"""Seconds a cancelled sender may take to delete the parts it has sent."""
_BLOBS = "blobs/"
_QUARANTINE = "quarantine/"
_LABEL = "label"
_KEY = re.compile(r"blobs/([0-9a-f]{2})/\1[0-9a-f]{62}|quarantine/[0-9a-f]{64}")


class S3Store(StageDirectory, BlobStore):
    """The bucket store. Any number of hubs may use one bucket concurrently."""

    def __init__(self, url: str, staging: Path) -> None:
        """Use the bucket of *url* and the directory *staging*, created if needed."""
        super().__init__(staging)
        self.clients = Clients(url)

    def check(self) -> None:
        """Raise `Unavailable` with the reason unless the bucket can be used (blocking)."""
        try:
            next(iter(obstore.list(self.clients.quick, prefix=_BLOBS, chunk_size=1)), None)
        except BaseError as error:
            bucket = f"s3://{self.clients.name}"
            raise Unavailable(f"{bucket}: {meaning(error).message} ({words(error)})") from None

    async def put(self, digest: Digest, size: int, chunks: AsyncIterator[bytes]) -> None:
        """See `BlobStore.put`."""
        if (await self.stat([digest])).get(digest) == size:
            return
        async with self.staged(digest, size, chunks) as stage:
            await stage.prepare(digest, size)

    async def open(
        self, digest: Digest, range_: ByteRange | None = None
    ) -> tuple[int, AsyncIterator[bytes]]:
        """See `BlobStore.open`."""
        body = None
        if range_ is None or range_.start < range_.stop:
            body = await self._get(digest, range_)
        size = body.meta["size"] if body else await self._size(digest)
        wanted = range_ or ByteRange(0, size)
        if wanted.stop > size or wanted.start > wanted.stop:
            raise RangeUnsatisfiable(f"The blob has {size} bytes.", {"size": size})
        return size, self._read(digest, wanted, body)

    async def _size(self, digest: Digest) -> int:
        try:
            return (await self.stat([digest]))[digest]
        except KeyError:
            raise _absent(digest) from None

    async def _get(self, digest: Digest, wanted: ByteRange | None) -> GetResult | None:
        """Return a response with the blob's bytes; None if *wanted* begins beyond its end."""
        options: GetOptions = {"range": (wanted.start, wanted.stop)} if wanted else {}
        try:
            return await obstore.get_async(self.clients.bulk, key(digest), options=options)
        except FileNotFoundError:
            raise _absent(digest) from None
        except BaseError as error:
            if "416 Range Not Satisfiable" in str(error):
                return None
            raise designed(error, "reading a blob") from None

    async def _read(
        self, digest: Digest, wanted: ByteRange, body: GetResult | None
    ) -> AsyncIterator[bytes]:
        """Yield the bytes *wanted*, of *body* first; requested again where that breaks off."""
        position, fruitless = wanted.start, 0
        while position < wanted.stop:
            body = body or await self._get(digest, ByteRange(position, wanted.stop))
            fruitless += 1
            try:
                if body is not None:
                    async for chunk in body.stream(CHUNK):
                        position, fruitless = position + len(chunk), 0
                        yield chunk
            except BaseError as error:
                if fruitless > _RESUMPTIONS:
                    raise designed(error, "reading a blob") from None
            if fruitless > _RESUMPTIONS:
                raise Damaged("The blob was truncated while it was being read.")
            body = None

    async def stat(self, digests: Iterable[Digest]) -> dict[Digest, int]:
        """See `BlobStore.stat`. One request each, without listings."""
        wanted = list(dict.fromkeys(digests))
        sizes = await self._each(
            lambda bucket, digest: obstore.head_async(bucket, key(digest)),
            wanted,
            "looking for blobs",
        )
        return {digest: meta["size"] for digest, meta in sizes.items()}

    async def list(self, after: Digest | None = None, limit: int = 1000) -> Sequence[Digest]:
        """See `BlobStore.list`. As consistent as the engine's listings, mostly immediately."""
        listed = await self._listed(_BLOBS, key(after) if after else None, limit)
        return [Digest(meta["path"].rpartition("/")[2]) for meta in listed]

    async def _listed(self, prefix: str, offset: str | None, limit: int) -> Sequence[ObjectMeta]:
        """Return the objects under *prefix* beyond *offset* that are named after a digest."""
        found: list[ObjectMeta] = []
        pages = obstore.list(self.clients.bulk, prefix=prefix, offset=offset, chunk_size=_PAGE)
        if limit <= 0:
            return found
        try:
            async for page in pages:
                found += [meta for meta in page if _KEY.fullmatch(meta["path"])]
                if len(found) >= limit:
                    break
        except BaseError as error:
            raise designed(error, "listing blobs") from None
        return found[:limit]

    async def delete(self, digests: Iterable[Digest]) -> None:
        """See `BlobStore.delete`."""
        await self._each(
            lambda bucket, digest: obstore.delete_async(bucket, key(digest)),
            list(digests),
            "deleting blobs",
        )

    async def quarantine(self, digests: Iterable[Digest]) -> None:
        """See `BlobStore.quarantine`."""
        await self._move(_moving(key, aside, replace=True), digests, "quarantining blobs")

    async def quarantined(
        self, after: Digest | None = None, limit: int = 1000
    ) -> Sequence[Quarantined]:
        """See `BlobStore.quarantined`."""
        offset = aside(after) if after else None
        return [
            Quarantined(
                Digest(meta["path"].removeprefix(_QUARANTINE)),
                meta["size"],
                int(meta["last_modified"].timestamp() * 1_000_000),
            )
            for meta in await self._listed(_QUARANTINE, offset, limit)
        ]

    async def release(self, digests: Iterable[Digest]) -> None:
        """See `BlobStore.release`."""
        await self._move(_moving(aside, key, replace=False), digests, "releasing blobs")

    async def expunge(self, digests: Iterable[Digest]) -> None:
        """See `BlobStore.expunge`."""
        await self._each(
            lambda bucket, digest: obstore.delete_async(bucket, aside(digest)),
            list(digests),
            "emptying the quarantine",
        )

    async def label(self) -> bytes | None:
        """See `BlobStore.label`."""
        try:
            answer = await obstore.get_async(self.clients.quick, _LABEL)
            return bytes(await answer.bytes_async())
        except FileNotFoundError:
            return None
        except BaseError as error:
            raise designed(error, "reading the label") from None

    async def set_label(self, note: bytes) -> None:
        """See `BlobStore.set_label`."""
        try:
            await obstore.put_async(self.clients.quick, _LABEL, note)
        except (BaseError, FileNotFoundError) as error:
            raise designed(error, "writing the label") from None

    async def _move(
        self,
        move: Callable[[Bucket, Digest], Awaitable[None]],
        digests: Iterable[Digest],
        doing: str,
    ) -> None:
        """Move blobs by copying, which takes as long as they are large: not a quick request."""
        await self._each(move, list(digests), doing, self.clients.bulk)

    async def _each(
        self,
        ask: Callable[[Bucket, Digest], Awaitable[T]],
        digests: Sequence[Digest],
        doing: str,
        bucket: Bucket | None = None,
    ) -> dict[Digest, T]:
        """Return the results of *ask* for *digests*, many at a time; absent ones are left out."""
        answers: dict[Digest, T] = {}
        left = iter(digests)

        async def work() -> None:
            for digest in left:
                try:
                    answers[digest] = await ask(bucket or self.clients.quick, digest)
                except FileNotFoundError:
                    continue
                except BaseError as error:
                    raise designed(error, doing) from None

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(_REQUESTS_AT_ONCE, len(digests))):
                    group.create_task(work())
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None
        return answers

    def _make_stage(self, name: str, path: Path, *, existing: bool) -> S3Stage:
        return S3Stage(self, name, path, existing=existing)

    async def aclose(self) -> None:
        """See `BlobStore.aclose`. Only idle connections are held between calls."""


class S3Stage(StageFile):
    """A stage that becomes a blob by being sent into the bucket."""

    def __init__(self, store: S3Store, name: str, path: Path, *, existing: bool) -> None:
        super().__init__(name, path, existing=existing)
        self._clients = store.clients
        self._stopped = False

    async def prepare(self, digest: Digest, size: int) -> None:
        """See `Stage.prepare`: sends the bytes, unless an equal blob is there.

        A cancellation deletes what was sent so far.
        """
        if self._sealed == (digest, size) or await asyncio.to_thread(self._there, digest, size):
            return
        pieces = self._pieces(digest, size)
        sending = obstore.put_async(self._clients.bulk, key(digest), pieces, **_parts(size))
        task = asyncio.ensure_future(sending)
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            self._stopped = True
            await asyncio.wait([task], timeout=_FAREWELL)
            task.cancel()
            raise
        except (BaseError, FileNotFoundError) as error:
            raise designed(error, "sending a blob") from None

    def seal(self, digest: Digest, size: int) -> None:
        """See `Stage.seal`. Short after `prepare`, unless the blob was removed in between."""
        if self._sealed == (digest, size):
            return
        if not self._there(digest, size):
            self._send(digest, size)
        with suppress(OSError):  # the blob exists; leftovers are swept
            self._path.unlink(missing_ok=True)
        self._sealed = (digest, size)
        self.close()

    def _there(self, digest: Digest, size: int) -> bool:
        """Return whether the bucket has the blob and the stage its bytes (blocking)."""
        self.check_length(size)
        try:
            return obstore.head(self._clients.quick, key(digest))["size"] == size
        except FileNotFoundError:
            return False
        except BaseError as error:
            raise designed(error, "looking for a blob") from None

    def _send(self, digest: Digest, size: int) -> None:
        pieces = self._pieces(digest, size)
        try:
            obstore.put(self._clients.bulk, key(digest), pieces, **_parts(size))
        except (BaseError, FileNotFoundError) as error:
            raise designed(error, "sending a blob") from None

    def _pieces(self, digest: Digest, size: int) -> Iterator[bytes]:
        """Yield the bytes to send; `DigestMismatch` at the end if they do not match *digest*.

        Consumed in obstore's threads, not in the event loop's.
        """
        hasher = hashlib.sha256()
        for offset in range(0, size, CHUNK):
            if self._stopped:
                raise Unavailable("The upload was interrupted.")
            data = self.read(offset, min(CHUNK, size - offset))
            hasher.update(data)
            yield data
        if hasher.hexdigest() != digest:
            raise DigestMismatch("The bytes on disk differ from the bytes received.")


def key(digest: Digest) -> str:
    """Return the key of the blob's object."""
    return f"{_BLOBS}{digest[:2]}/{digest}"


def aside(digest: Digest) -> str:
    """Return the key of the blob's object in quarantine."""
    return f"{_QUARANTINE}{digest}"


def _moving(
    origin: Callable[[Digest], str], target: Callable[[Digest], str], *, replace: bool
) -> Callable[[Bucket, Digest], Awaitable[None]]:
    """Return a request that renames an object: S3 can only copy it and delete the old one."""

    async def move(bucket: Bucket, digest: Digest) -> None:
        there = False
        if not replace:
            with contextlib.suppress(FileNotFoundError):
                await obstore.head_async(bucket, target(digest))
                there = True
        if not there:
            await obstore.copy_async(bucket, origin(digest), target(digest))
        await obstore.delete_async(bucket, origin(digest))

    return move


def _absent(digest: Digest) -> NotFound:
    return NotFound(f"There is no blob {digest}.")


def _parts(size: int) -> dict[str, Any]:
    """Return options for sending *size* bytes: in one request, or in at most 10,000 parts."""
    smallest = -(-size // _MAX_PARTS)
    part = max(PART, -(-smallest // CHUNK) * CHUNK)
    return {"use_multipart": size > PART, "chunk_size": part, "max_concurrency": _PARTS_AT_ONCE}
