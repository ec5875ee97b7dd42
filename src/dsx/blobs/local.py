"""Blobs in a local directory.

``blobs/ab/<digest>`` holds sealed blobs, read-only; ``staging/`` holds incoming bytes;
``quarantine/<digest>`` holds quarantined blobs, whose modification time is that of the quarantine.
A blob appears by rename, after its bytes are durable, and is acknowledged after its directory entry
is: a crash leaves either nothing or the whole blob, and perhaps a stage for `sweep`.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import re
import uuid
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from pathlib import Path

from dsx.blobs.contract import BlobStore, Hides, Locates, Quarantined
from dsx.blobs.directories import sync_directory
from dsx.blobs.staging import StageDirectory, StageFile, names
from dsx.core.digest import Digest
from dsx.core.disk import disk
from dsx.core.errors import Damaged, NotFound, RangeUnsatisfiable
from dsx.core.ranges import ByteRange
from dsx.core.shield import run_in_thread, run_to_completion

CHUNK = 1024 * 1024
_BLOB_NAME = re.compile(r"[0-9a-f]{64}")


class LocalStore(StageDirectory, BlobStore, Hides, Locates):
    """The directory store. Several processes may use one directory concurrently."""

    def __init__(self, root: Path) -> None:
        """Use *root*, created if needed (blocking: construct before serving)."""
        self._blobs = root / "blobs"
        self._quarantine = root / "quarantine"
        self._label = self._blobs / "label"
        super().__init__(root / "staging")
        self._quarantine.mkdir(mode=0o700, exist_ok=True)
        for number in range(256):
            (self._blobs / f"{number:02x}").mkdir(mode=0o700, parents=True, exist_ok=True)
        for directory in (self._blobs, root):
            sync_directory(directory)

    def locate(self, digest: Digest) -> Path:
        """See `Locates.locate`."""
        return self._blobs / digest[:2] / digest

    async def put(self, digest: Digest, size: int, chunks: AsyncIterator[bytes]) -> None:
        """See `BlobStore.put`."""
        if await self.confirm(digest, size):
            return
        async with self.staged(digest, size, chunks) as stage:
            await asyncio.to_thread(stage.sync)
            await asyncio.to_thread(stage.seal, digest, size)

    async def open(
        self, digest: Digest, range_: ByteRange | None = None
    ) -> tuple[int, AsyncIterator[bytes]]:
        """See `BlobStore.open`. An iterator that is never started holds its descriptor."""
        try:
            opening = asyncio.to_thread(os.open, self.locate(digest), os.O_RDONLY)
            with disk():
                descriptor = await run_to_completion(opening, os.close)
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

    async def confirm(self, digest: Digest, size: int) -> bool:
        """See `BlobStore.confirm`. The maker of the blob may have died before syncing it."""
        return await asyncio.to_thread(self._confirm, digest, size)

    def _confirm(self, digest: Digest, size: int) -> bool:
        path = self.locate(digest)
        with disk():
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                return False
            try:
                if os.fstat(descriptor).st_size != size:
                    return False
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            sync_directory(path.parent)
        return True

    async def list(self, after: Digest | None = None, limit: int = 1000) -> Sequence[Digest]:
        """See `BlobStore.list`."""
        return await asyncio.to_thread(
            lambda: tuple(itertools.islice(self._walk(after or ""), max(0, limit)))
        )

    def _walk(self, after: str) -> Iterator[Digest]:
        """Yield digests greater than *after*, one directory in memory at a time."""
        for first in names(self._blobs, after[:2]):
            for name in names(self._blobs / first, after):
                if name > after and _BLOB_NAME.fullmatch(name):
                    yield Digest(name)

    async def delete(self, digests: Iterable[Digest]) -> None:
        """See `BlobStore.delete`."""
        await asyncio.to_thread(self._delete, tuple(digests))

    def _delete(self, digests: Sequence[Digest]) -> None:
        for digest in digests:
            self.locate(digest).unlink(missing_ok=True)

    async def quarantine(self, digests: Iterable[Digest]) -> None:
        """See `BlobStore.quarantine`."""
        await asyncio.to_thread(self._set_aside, tuple(digests))

    def _set_aside(self, digests: Sequence[Digest]) -> None:
        for digest in digests:
            with contextlib.suppress(FileNotFoundError):
                os.utime(self.locate(digest))
                self.locate(digest).rename(self._quarantine / digest)
                sync_directory(self._quarantine)
                sync_directory(self.locate(digest).parent)

    async def quarantined(
        self, after: Digest | None = None, limit: int = 1000
    ) -> Sequence[Quarantined]:
        """See `BlobStore.quarantined`."""
        return await asyncio.to_thread(self._look_aside, after or "", limit)

    def _look_aside(self, after: str, limit: int) -> Sequence[Quarantined]:
        known = (name for name in names(self._quarantine, after) if _BLOB_NAME.fullmatch(name))
        found = []
        for name in itertools.islice((name for name in known if name > after), max(0, limit)):
            with contextlib.suppress(FileNotFoundError):
                status = (self._quarantine / name).stat()
                found.append(Quarantined(Digest(name), status.st_size, status.st_mtime_ns // 1000))
        return found

    async def release(self, digests: Iterable[Digest]) -> None:
        """See `BlobStore.release`."""
        await asyncio.to_thread(self._release, tuple(digests))

    def _release(self, digests: Sequence[Digest]) -> None:
        for digest in digests:
            aside, target = self._quarantine / digest, self.locate(digest)
            with contextlib.suppress(FileNotFoundError, FileExistsError):
                os.link(aside, target)  # unlike a rename, it never replaces what is there
                sync_directory(target.parent)
            aside.unlink(missing_ok=True)

    async def expunge(self, digests: Iterable[Digest]) -> None:
        """See `BlobStore.expunge`."""
        await asyncio.to_thread(self._expunge, tuple(digests))

    def _expunge(self, digests: Sequence[Digest]) -> None:
        for digest in digests:
            (self._quarantine / digest).unlink(missing_ok=True)

    async def label(self) -> bytes | None:
        """See `BlobStore.label`."""
        try:
            return await asyncio.to_thread(self._label.read_bytes)
        except FileNotFoundError:
            return None

    async def set_label(self, note: bytes) -> None:
        """See `BlobStore.set_label`."""
        with disk():
            await asyncio.to_thread(_replace, self._label, note)

    def hide(self, digests: Iterable[Digest]) -> Sequence[str]:
        """See `Hides.hide`."""
        hidden = []
        with disk():
            for digest in digests:
                name = uuid.uuid4().hex
                with contextlib.suppress(FileNotFoundError):
                    self.locate(digest).rename(self._staging / name)
                    hidden.append(name)
        return hidden

    def _make_stage(self, name: str, path: Path, *, existing: bool) -> LocalStage:
        return LocalStage(self, name, path, existing=existing)

    async def aclose(self) -> None:
        """See `BlobStore.aclose`. The directory store holds nothing between calls."""


class LocalStage(StageFile):
    """A stage that becomes a blob by being renamed."""

    def __init__(self, store: LocalStore, name: str, path: Path, *, existing: bool) -> None:
        super().__init__(name, path, existing=existing)
        self._store = store

    async def prepare(self, digest: Digest, size: int) -> None:  # noqa: ARG002 (one is enough)
        """See `Stage.prepare`. Makes the bytes durable; only the rename is left."""
        await run_in_thread(self.settle, size)

    def seal(self, digest: Digest, size: int) -> None:
        """See `Stage.seal`."""
        if self._sealed == (digest, size):
            return
        self.settle(size)
        target = self._store.locate(digest)
        with disk():
            replaces = target.exists()
            self._path.rename(target)
            try:
                sync_directory(target.parent)
            except OSError:
                # Whether the name is on disk is unknown, and a second sync would not show it:
                # a retry renames again. An equal blob that was there before must stay, though.
                if not replaces:
                    with contextlib.suppress(OSError):
                        target.rename(self._path)
                raise
        self._sealed = (digest, size)
        with contextlib.suppress(OSError):  # for operators; nothing depends on it
            os.fchmod(self._descriptor, 0o400)
        self.close()


def _replace(path: Path, content: bytes) -> None:
    draft = path.with_name(f"{path.name}.{os.getpid()}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    draft.rename(path)
    sync_directory(path.parent)


async def _read(descriptor: int, wanted: ByteRange) -> AsyncIterator[bytes]:
    try:
        position = wanted.start
        while position < wanted.stop:
            size = min(CHUNK, wanted.stop - position)
            with disk():
                chunk = await asyncio.to_thread(os.pread, descriptor, size, position)
            if not chunk:
                raise Damaged("The blob was truncated while it was being read.")
            yield chunk
            position += len(chunk)
    finally:
        os.close(descriptor)
