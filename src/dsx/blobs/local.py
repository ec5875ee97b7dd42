"""Blobs in a directory of this machine.

``blobs/ab/<digest>`` holds sealed blobs, read-only; ``staging/`` holds bytes on their way in.
A blob appears by rename, after its bytes are durable, and is acknowledged after its directory
entry is: a crash leaves either nothing or the whole blob, and perhaps a stage for `sweep`.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import fcntl
import itertools
import os
import re
import uuid
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from pathlib import Path

from dsx.blobs.contract import BlobStore, Locates, Stage, Stages
from dsx.core.digest import Buffer, Digest, Hasher
from dsx.core.errors import (
    DigestMismatch,
    Invalid,
    NotFound,
    RangeUnsatisfiable,
    StorageFull,
    TooLarge,
)
from dsx.core.ranges import ByteRange
from dsx.core.shielded import whatever_happens

CHUNK = 1024 * 1024
WRITE_BEHIND = 8 * CHUNK
"""Dirty bytes after which the disk is set to work, so that ``sync`` finds little left to do."""
_STAGE_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_BLOB_NAME = re.compile(r"[0-9a-f]{64}")
_SYNC_FILE_RANGE_WRITE = 2
_sync_file_range = getattr(ctypes.CDLL(None), "sync_file_range", None)
if _sync_file_range is not None:
    _sync_file_range.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
_FULL = {errno.ENOSPC, errno.EDQUOT}


class LocalStore(BlobStore, Locates, Stages):
    """The directory store. Several processes may use one directory at once."""

    def __init__(self, root: Path) -> None:
        """Use *root*, which is made if need be (blocking: construct before serving)."""
        self._blobs = root / "blobs"
        self._staging = root / "staging"
        self._staging.mkdir(mode=0o700, parents=True, exist_ok=True)
        for number in range(256):
            (self._blobs / f"{number:02x}").mkdir(mode=0o700, parents=True, exist_ok=True)
        for directory in (self._blobs, root):
            _sync_directory(directory)

    def locate(self, digest: Digest) -> Path:
        """See `Locates.locate`."""
        return self._blobs / digest[:2] / digest

    async def put(self, digest: Digest, size: int, chunks: AsyncIterator[bytes]) -> None:
        """See `BlobStore.put`."""
        if (await self.stat([digest])).get(digest) == size:
            return
        stage = await self.stage(reserve=size)
        try:
            hasher = Hasher()
            async for chunk in chunks:
                await asyncio.to_thread(stage.write, hasher.size, chunk)
                await asyncio.to_thread(hasher.update, chunk)
                if hasher.size > size:
                    break
            if (hasher.digest, hasher.size) != (digest, size):
                raise DigestMismatch("The bytes are not those of the announced digest and size.")
            await asyncio.to_thread(stage.sync)
            await asyncio.to_thread(stage.seal, digest, size)
        finally:
            await stage.discard()

    async def open(
        self, digest: Digest, range_: ByteRange | None = None
    ) -> tuple[int, AsyncIterator[bytes]]:
        """See `BlobStore.open`. An iterator that is never started holds its descriptor."""
        try:
            opening = asyncio.to_thread(os.open, self.locate(digest), os.O_RDONLY)
            descriptor = await whatever_happens(opening, os.close)
        except FileNotFoundError:
            raise NotFound(f"There is no blob {digest}.") from None
        size = os.fstat(descriptor).st_size
        wanted = range_ or ByteRange(0, size)
        if wanted.stop > size or wanted.start > wanted.stop:
            os.close(descriptor)
            raise RangeUnsatisfiable(f"The blob has {size} bytes.", {"size": size})
        return size, _read(descriptor, wanted)

    async def stat(self, digests: Iterable[Digest]) -> dict[Digest, int]:
        """See `BlobStore.stat`."""
        return await asyncio.to_thread(self._stat, tuple(digests))

    def _stat(self, digests: Sequence[Digest]) -> dict[Digest, int]:
        sizes = {}
        for digest in digests:
            with contextlib.suppress(FileNotFoundError):
                sizes[digest] = self.locate(digest).stat().st_size
        return sizes

    async def list(self, after: Digest | None = None, limit: int = 1000) -> Sequence[Digest]:
        """See `BlobStore.list`."""
        return await asyncio.to_thread(
            lambda: tuple(itertools.islice(self._walk(after or ""), max(0, limit)))
        )

    def _walk(self, after: str) -> Iterator[Digest]:
        """Digests greater than *after*, one directory in memory at a time."""
        for first in _names(self._blobs, after[:2]):
            for name in _names(self._blobs / first, after):
                if name > after and _BLOB_NAME.fullmatch(name):
                    yield Digest(name)

    async def delete(self, digests: Iterable[Digest]) -> None:
        """See `BlobStore.delete`."""
        await asyncio.to_thread(self._delete, tuple(digests))

    def _delete(self, digests: Sequence[Digest]) -> None:
        for digest in digests:
            self.locate(digest).unlink(missing_ok=True)

    async def stage(
        self, id_: str | None = None, reserve: int = 0, *, existing: bool = False
    ) -> Stage:
        """See `Stages.stage`."""
        name = id_ or uuid.uuid4().hex
        if not _STAGE_NAME.fullmatch(name):
            raise Invalid("A stage's id is 1 to 64 letters, digits, '-' or '_'.")
        durable = id_ is not None
        opening = asyncio.to_thread(self._open_stage, name, reserve, existing, durable)
        return await whatever_happens(opening, LocalStage.close)

    def _open_stage(self, name: str, reserve: int, existing: bool, durable: bool) -> LocalStage:
        if reserve > self._room():
            raise StorageFull(f"There is no room for {reserve} bytes.", {"needed": reserve})
        with _full_disk():
            stage = LocalStage(self, name, self._staging / name, existing=existing)
            if durable and not existing:
                _sync_directory(self._staging)
        return stage

    async def room(self) -> int | None:
        """See `Stages.room`."""
        return await asyncio.to_thread(self._room)

    def _room(self) -> int:
        free = os.statvfs(self._staging)
        return free.f_bavail * free.f_frsize

    async def stages(self) -> Sequence[str]:
        """See `Stages.stages`."""
        return await asyncio.to_thread(lambda: sorted(_names(self._staging, "")))

    async def sweep(self, ids: Iterable[str]) -> int:
        """See `Stages.sweep`."""
        return await asyncio.to_thread(lambda: sum(map(self._sweep, ids)))

    def _sweep(self, name: str) -> bool:
        with contextlib.suppress(FileNotFoundError), (self._staging / name).open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            (self._staging / name).unlink()
            return True
        return False

    async def aclose(self) -> None:
        """See `BlobStore.aclose`. The directory store holds nothing between calls."""


class LocalStage(Stage):
    """A file under ``staging/``. Whoever has it open holds a shared lock; `sweep` respects it."""

    def __init__(self, store: LocalStore, name: str, path: Path, *, existing: bool) -> None:
        self.id = name
        self._store = store
        self._path = path
        self._descriptor = _open_locked(path, 0 if existing else os.O_CREAT)
        self._open = True
        self._sealed: tuple[Digest, int] | None = None
        self._unflushed = 0

    def write(self, offset: int, data: Buffer) -> None:
        """See `Stage.write`."""
        view = memoryview(data)
        with _full_disk():
            while view:
                written = os.pwrite(self._descriptor, view, offset)
                view, offset = view[written:], offset + written
                self._unflushed += written
        if self._unflushed >= WRITE_BEHIND:
            _start_writing(self._descriptor)
            self._unflushed = 0

    def sync(self) -> None:
        """See `Stage.sync`. An error here is final: the kernel may have dropped the bytes."""
        with _full_disk():
            os.fdatasync(self._descriptor)

    def read(self, offset: int, size: int) -> bytes:
        """See `Stage.read`."""
        return os.pread(self._descriptor, size, offset)

    def seal(self, digest: Digest, size: int) -> None:
        """See `Stage.seal`."""
        if self._sealed == (digest, size):
            return
        held = os.fstat(self._descriptor).st_size
        if held < size:
            raise DigestMismatch(f"The upload does not hold {size} bytes.")
        target = self._store.locate(digest)
        with _full_disk():
            if held > size:
                os.ftruncate(self._descriptor, size)
            os.fchmod(self._descriptor, 0o400)
            os.fsync(self._descriptor)
            self._path.rename(target)
            _sync_directory(target.parent)
        self._sealed = (digest, size)
        self.close()

    async def discard(self) -> None:
        """See `Stage.discard`."""
        await asyncio.to_thread(self._discard)

    def _discard(self) -> None:
        if self._sealed is None:
            self._path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """See `Stage.close`."""
        if self._open:
            self._open = False
            os.close(self._descriptor)


@contextlib.contextmanager
def _full_disk() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StorageFull("The disk is full.") from error
        if error.errno == errno.EFBIG:
            raise TooLarge("No file of this disk can be that large.") from error
        raise


def _names(directory: Path, first: str) -> list[str]:
    """Sorted names in *directory* from *first* on; none if it is gone."""
    try:
        return sorted(entry.name for entry in os.scandir(directory) if entry.name >= first)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _open_locked(path: Path, create: int) -> int:
    """Open the stage *path* under a shared lock, again if `sweep` took it away in between."""
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | create, 0o600)
        except FileNotFoundError:
            raise NotFound(f"There is no stage {path.name}.") from None
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        os.close(descriptor)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _start_writing(descriptor: int) -> None:
    """Have the kernel begin to write the file's dirty pages, without waiting (Linux only)."""
    if _sync_file_range is not None:
        _sync_file_range(descriptor, 0, 0, _SYNC_FILE_RANGE_WRITE)


async def _read(descriptor: int, wanted: ByteRange) -> AsyncIterator[bytes]:
    try:
        position = wanted.start
        while position < wanted.stop:
            size = min(CHUNK, wanted.stop - position)
            chunk = await asyncio.to_thread(os.pread, descriptor, size, position)
            if not chunk:
                raise NotFound("The blob is shorter than its record says.")
            yield chunk
            position += len(chunk)
    finally:
        os.close(descriptor)
