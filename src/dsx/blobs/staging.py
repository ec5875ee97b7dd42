"""Incoming bytes, as files in a local directory.

What a stage becomes when it is sealed is defined by the store that is built on this.

A failed sync is final. The kernel reports it once and then treats the dirty pages as clean, or
drops them; a second sync would succeed and mean nothing. So all bytes written to the file since its
last successful sync are lost, by whichever descriptor, and must be written again through a new one.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import fcntl
import os
import threading
import uuid
import weakref
from abc import abstractmethod
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from pathlib import Path

from dsx.blobs.contract import STAGE_ID, Stage, Stages, check_stage_id
from dsx.blobs.directories import sync_directory
from dsx.blobs.occupied import is_occupied, occupy
from dsx.blobs.staging_id import staging_id
from dsx.core.digest import Buffer, Digest, Hasher
from dsx.core.disk import MORE_ROOM, disk
from dsx.core.errors import (
    DigestMismatch,
    NotFound,
    StorageFailed,
    StorageFull,
)
from dsx.core.ranges import ByteRange
from dsx.core.shield import run_in_thread, run_to_completion

WRITE_BEHIND = 8 * 1024 * 1024
"""Dirty bytes after which writeback is started, so that ``sync`` finds little left to do."""
_SYNC_FILE_RANGE_WRITE = 2
_sync_file_range = getattr(ctypes.CDLL(None), "sync_file_range", None)
if _sync_file_range is not None:
    _sync_file_range.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)


class StageDirectory(Stages):
    """The stages of a store, one file each. Several processes may share one directory."""

    def __init__(self, staging: Path) -> None:
        """Use the directory *staging*, created if needed (blocking)."""
        self._staging = staging
        self._staging.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.staging_id = staging_id(self._staging)
        self.owed: Callable[[Path], int] = lambda _: 0
        """Returns the free bytes of a directory's disk that stages may not use; may be set."""

    @abstractmethod
    def _make_stage(self, name: str, path: Path, *, existing: bool) -> StageFile:
        """Create the store's own kind of stage on the file *path* (blocking)."""

    async def stage(
        self, id_: str | None = None, reserve: int = 0, *, existing: bool = False
    ) -> Stage:
        """See `Stages.stage`."""
        name = uuid.uuid4().hex if id_ is None else check_stage_id(id_)
        durable = id_ is not None
        opening = asyncio.to_thread(self._open_stage, name, reserve, existing, durable)
        return await run_to_completion(opening, StageFile.close)

    def _open_stage(self, name: str, reserve: int, existing: bool, durable: bool) -> StageFile:
        room = self._room()
        full = room <= 0 and not existing and self.owed(self._staging) > 0
        if full or 0 < reserve > room:
            raise StorageFull(
                f"Not enough space for {reserve} bytes. {MORE_ROOM}", {"needed": reserve}
            )
        with disk():
            stage = self._make_stage(name, self._staging / name, existing=existing)
            stage.check_room = self._check_room
            if durable and not existing:
                try:
                    sync_directory(self._staging)
                except OSError:
                    stage.withdraw()
                    raise
        return stage

    @contextlib.asynccontextmanager
    async def staged(
        self, digest: Digest, size: int, chunks: AsyncIterator[bytes]
    ) -> AsyncIterator[Stage]:
        """Provide a stage with the bytes of *chunks*, dropped unless it is sealed in the block.

        `DigestMismatch` unless they are *size* bytes and hash to *digest*.
        """
        stage = await self.stage(reserve=size)
        try:
            hasher = Hasher()
            async for chunk in chunks:
                await run_in_thread(stage.write, hasher.size, chunk)
                await run_in_thread(hasher.update, chunk)
                if hasher.size > size:
                    break
            if (hasher.digest, hasher.size) != (digest, size):
                raise DigestMismatch("The bytes do not match the expected digest and size.")
            yield stage
        finally:
            await stage.discard()

    async def successor(self, id_: str, span: ByteRange) -> Stage | None:
        """See `Stages.successor`."""
        path = self._staging / check_stage_id(id_)
        return await self.stage() if await run_in_thread(is_occupied, path, span) else None

    async def room(self) -> int | None:
        """See `Stages.room`."""
        return await asyncio.to_thread(self._room)

    def _room(self) -> int:
        free = os.statvfs(self._staging)
        return free.f_bavail * free.f_frsize - self.owed(self._staging)

    def _check_room(self, size: int) -> None:
        if self.owed(self._staging) and self._room() < size:
            raise StorageFull(f"The disk is full. {MORE_ROOM}")

    async def stages(self) -> Sequence[str]:
        """See `Stages.stages`."""
        found = await asyncio.to_thread(names, self._staging, "")
        return [name for name in found if STAGE_ID.fullmatch(name)]

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


class StageFile(Stage):
    """A file of a stage directory. Holders have a shared lock, which `sweep` respects."""

    def __init__(self, name: str, path: Path, *, existing: bool) -> None:
        self.id = name
        self._path = path
        self._descriptor, self._made = _open_locked(path, existing=existing)
        self._open = True
        self._users = 0  # calls using the descriptor
        self._gate = threading.Lock()
        self._sealed: tuple[Digest, int] | None = None
        self._unflushed = 0
        self._dirty = not self._made  # an earlier holder may have left it so
        self._writeback = _writeback_of(self._descriptor)
        self.check_room: Callable[[int], None] = lambda _: None
        """Raises `StorageFull` if that many bytes do not fit beside the reserved space."""

    def write(self, offset: int, data: Buffer) -> None:
        """See `Stage.write`."""
        self._writeback.check()
        view = memoryview(data)
        self.check_room(len(view))
        try:
            with self._in_use(), disk():
                while view:
                    written = os.pwrite(self._descriptor, view, offset)
                    if not written:
                        raise OSError(errno.EIO, "nothing was written")
                    view, offset = view[written:], offset + written
                    self._unflushed += written
        except StorageFailed:
            self._writeback.failed = True
            raise
        finally:
            self._dirty = True
        if self._unflushed >= WRITE_BEHIND:
            with self._in_use():
                _start_writing(self._descriptor)
            self._unflushed = 0

    def occupy(self, span: ByteRange) -> None:
        """See `Stage.occupy`."""
        with self._in_use():
            occupy(self._descriptor, span)

    def sync(self) -> None:
        """See `Stage.sync`. Also raises if another descriptor's sync of this file has failed."""
        with self._writeback.lock:
            self._writeback.check()
            self._dirty = False  # a concurrent write sets it again
            try:
                with self._in_use(), disk():
                    os.fdatasync(self._descriptor)
            except BaseException:
                self._dirty = self._writeback.failed = True
                raise

    def read(self, offset: int, size: int) -> bytes:
        """See `Stage.read`."""
        with self._in_use(), disk():
            data = os.pread(self._descriptor, size, offset)
            while 0 < len(data) < size:
                more = os.pread(self._descriptor, size - len(data), offset + len(data))
                if not more:
                    break
                data += more
        return data

    def reread(self) -> None:
        """See `Stage.reread`."""
        with self._in_use(), disk():
            os.posix_fadvise(self._descriptor, 0, 0, os.POSIX_FADV_DONTNEED)

    def settle(self, size: int) -> None:
        """Truncate the file to *size* bytes, durably (blocking); see `seal`.

        Costs no sync if everything was synced before. A failed one is not retried.
        """
        self._writeback.check()
        held = self.check_length(size)
        if held > size:
            with disk():
                os.ftruncate(self._descriptor, size)
            self._dirty = True
        if self._dirty:
            self.sync()

    def supersede(self, id_: str) -> None:
        """See `Stage.supersede`."""
        place = self._path.with_name(check_stage_id(id_))
        with disk():
            self._path.rename(place)
            self.id, self._path = id_, place
            sync_directory(place.parent)

    def is_current(self) -> bool:
        """See `Stage.is_current`."""
        try:
            with self._in_use():
                return os.path.samestat(os.fstat(self._descriptor), self._path.stat())
        except FileNotFoundError:
            return False

    def withdraw(self) -> None:
        """Undo the creation of the stage, unless somebody else has it open; then close it."""
        with contextlib.suppress(OSError):
            if self._made:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._path.unlink(missing_ok=True)
        self.close()

    def check_length(self, size: int) -> int:
        """Return the number of bytes; `DigestMismatch` if fewer than *size*."""
        held = os.fstat(self._descriptor).st_size
        if held < size:
            raise DigestMismatch(f"The upload has fewer than {size} bytes.")
        return held

    async def discard(self) -> None:
        """See `Stage.discard`."""
        await asyncio.to_thread(self._discard)

    def _discard(self) -> None:
        try:
            if self._sealed is None:
                with disk():
                    self._path.unlink(missing_ok=True)
        finally:
            self.close()

    def close(self) -> None:
        """See `Stage.close`. The last user of the descriptor closes it."""
        with self._gate:
            was_open, self._open = self._open, False
            if was_open and not self._users:
                self._close()

    @contextlib.contextmanager
    def _in_use(self) -> Iterator[None]:
        """Keep the descriptor from being closed, and its number from being reused."""
        with self._gate:
            if not self._open:
                raise ValueError("The stage is closed.")
            self._users += 1
        try:
            yield
        finally:
            self._leave()

    def _leave(self) -> None:
        with self._gate:
            self._users -= 1
            if not self._open and not self._users:
                self._close()

    def _close(self) -> None:
        with contextlib.suppress(OSError):  # everything acknowledged was synced
            os.close(self._descriptor)


class _Writeback:
    """The writeback state of one file, for all descriptors opened so far.

    Syncs are serialized, so that none succeeds beside one that fails. Descriptors opened after a
    failure have a new state: bytes written from then on can be synced again. The kernel does the
    same across processes: each descriptor open at the time gets the error once.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.failed = False

    def check(self) -> None:
        """Raise `StorageFailed` if bytes written before may be lost."""
        if self.failed:
            raise StorageFailed(
                "The disk failed while bytes were written; those not acknowledged are lost. "
                "Query the upload's offset and send them again."
            )


_writebacks: weakref.WeakValueDictionary[tuple[int, int], _Writeback]
_writebacks = weakref.WeakValueDictionary()
_writebacks_lock = threading.Lock()


def _writeback_of(descriptor: int) -> _Writeback:
    """Return the state of the file, a new one if there is none or it has failed."""
    status = os.fstat(descriptor)
    key = status.st_dev, status.st_ino
    with _writebacks_lock:
        known = _writebacks.get(key)
        if known is None or known.failed:
            known = _writebacks[key] = _Writeback()
        return known


def names(directory: Path, first: str) -> list[str]:
    """Return sorted names in *directory* from *first* on; none if it is gone."""
    try:
        return sorted(entry.name for entry in os.scandir(directory) if entry.name >= first)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _open_locked(path: Path, *, existing: bool) -> tuple[int, bool]:
    """Open the stage *path* under a shared lock, again if `sweep` removed it in between.

    Also returns whether it was created.
    """
    flags = os.O_RDWR | os.O_CLOEXEC
    while True:
        made = False
        try:
            descriptor = os.open(path, flags)
        except FileNotFoundError:
            if existing:
                raise NotFound(f"There is no stage {path.name}.") from None
            try:
                descriptor, made = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600), True
            except FileExistsError:
                continue
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor, made
        os.close(descriptor)


def _start_writing(descriptor: int) -> None:
    """Start writeback of the file's dirty pages, without waiting (Linux only)."""
    if _sync_file_range is not None:
        _sync_file_range(descriptor, 0, 0, _SYNC_FILE_RANGE_WRITE)
