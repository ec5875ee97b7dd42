"""The contract of blob stores.

Every implementation, and every wrapper around one, passes ``dsx.testing.blobs``. Optional
capabilities (`Locates`, `Stages`) are tested with ``isinstance`` and never faked.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dsx.core.digest import Buffer, Digest
from dsx.core.errors import Invalid
from dsx.core.ranges import ByteRange


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A blob in quarantine: its size in bytes, and since when (microseconds since the epoch)."""

    digest: Digest
    size: int
    since: int


class BlobStore(ABC):
    """Immutable bytes by digest.

    Guarantees, for every method: a blob is visible whole or not at all; once ``put`` or
    ``Stage.seal`` has returned, the bytes survive a crash of the process and of the machine;
    equal content is stored once; calls may run concurrently from any task or process.
    No method blocks the event loop.
    """

    @abstractmethod
    async def put(self, digest: Digest, size: int, chunks: AsyncIterator[bytes]) -> None:
        """Store exactly *size* bytes whose SHA-256 is *digest*.

        Atomic and idempotent: if the blob exists the chunks may be left unread. Raises
        `DigestMismatch` if the bytes differ (nothing is stored) and `StorageFull` without space. If
        *chunks* raises, nothing is stored and the exception propagates.
        """

    @abstractmethod
    async def open(
        self, digest: Digest, range_: ByteRange | None = None
    ) -> tuple[int, AsyncIterator[bytes]]:
        """Return the blob's full size, and its bytes (or *range_* of them) in bounded chunks.

        Raises `NotFound` immediately, `RangeUnsatisfiable` if *range_* exceeds the blob. A reader
        that has begun keeps reading the same bytes even if the blob is deleted meanwhile.
        """

    @abstractmethod
    async def stat(self, digests: Iterable[Digest]) -> dict[Digest, int]:
        """Return the sizes in bytes of the stored ones of *digests*; absent ones are left out."""

    async def confirm(self, digest: Digest, size: int) -> bool:
        """Return whether there is a blob *digest* of *size* bytes; if so, make it durable.

        For a blob of another process, which may have died before it synced it.
        """
        return (await self.stat([digest])).get(digest) == size

    @abstractmethod
    async def list(self, after: Digest | None = None, limit: int = 1000) -> Sequence[Digest]:
        """Return up to *limit* digests greater than *after*, ascending; fewer mean the end."""

    @abstractmethod
    async def delete(self, digests: Iterable[Digest]) -> None:
        """Remove blobs; absent ones are not an error."""

    @abstractmethod
    async def quarantine(self, digests: Iterable[Digest]) -> None:
        """Hide blobs from every other method; their bytes are kept until `expunge`.

        For damaged blobs and for those without a record. Absent ones are not an error. The same
        content may be stored again; quarantining it again replaces the earlier copy.
        """

    @abstractmethod
    async def quarantined(
        self, after: Digest | None = None, limit: int = 1000
    ) -> Sequence[Quarantined]:
        """Return up to *limit* quarantined blobs with digests greater than *after*, ascending."""

    @abstractmethod
    async def release(self, digests: Iterable[Digest]) -> None:
        """Restore quarantined blobs as they are, unless they have been stored again.

        Nothing is verified. Blobs not in quarantine are not an error.
        """

    @abstractmethod
    async def expunge(self, digests: Iterable[Digest]) -> None:
        """Permanently delete blobs from the quarantine; absent ones are not an error."""

    @abstractmethod
    async def label(self) -> bytes | None:
        """Return the short note left by `set_label`; None if there is none."""

    @abstractmethod
    async def set_label(self, note: bytes) -> None:
        """Store *note*, of at most 4 KiB, durably beside the blobs, replacing the previous one."""

    @abstractmethod
    async def aclose(self) -> None:
        """Release all resources. Idempotent."""


class Hides(ABC):
    """Capability: blobs can be hidden immediately, and freed later."""

    @abstractmethod
    def hide(self, digests: Iterable[Digest]) -> Sequence[str]:
        """Turn blobs into stages that nobody holds; returns their ids (blocking, but short).

        From then on they are absent and may be stored again; `Stages.sweep` frees them. Absent ones
        are left out.
        """

    @abstractmethod
    async def sweep(self, ids: Iterable[str]) -> int:
        """See `Stages.sweep`."""


class Locates(ABC):
    """Capability: blobs are local files, which the sender may read without copying."""

    @abstractmethod
    def locate(self, digest: Digest) -> Path:
        """Return the path of the blob if it is stored. Does no I/O: open the path to find out."""


class Stage(ABC):
    """Incoming bytes: parts written at their final offset, then sealed without copying.

    All methods but ``discard`` are blocking and meant for worker threads; writers of disjoint
    ranges may run concurrently, in several threads or processes.
    """

    id: str

    @abstractmethod
    def write(self, offset: int, data: Buffer) -> None:
        """Write all of *data* at *offset* (blocking).

        Raises `StorageFull` without space, `TooLarge` if the medium does not support files of that
        size, `StorageFailed` if the medium fails; after that, only what was synced before is kept.
        """

    @abstractmethod
    def occupy(self, span: ByteRange) -> None:
        """Declare, until this is closed, that bytes of *span* may be written through it (blocking).

        The declaration persists while a writing thread or process is stopped; see
        `Stages.successor`.
        """

    @abstractmethod
    def sync(self) -> None:
        """Return once everything written so far survives a crash of the machine (blocking).

        If this raises anything, all bytes written since the last success, by any writer of this
        stage, are lost: calling it again raises `StorageFailed`. To continue, open the stage again
        and write those bytes again.
        """

    @abstractmethod
    def read(self, offset: int, size: int) -> bytes:
        """Return up to *size* bytes from *offset*; fewer only at the end (blocking)."""

    def reread(self) -> None:  # noqa: B027 (may be left out)
        """Make the next reads come from the medium, not from memory (blocking).

        After a failure memory may still show bytes that never reached the medium.
        """

    async def prepare(self, digest: Digest, size: int) -> None:  # noqa: B027 (may be left out)
        """Do the slow part of a ``seal`` with the same arguments in advance.

        For callers that seal while others wait. It does not change the guarantees of ``seal``: if
        this is left out, or a removal of identical bytes undoes it, ``seal`` does everything. The
        blob may be visible from here on: a caller that does not seal must remove it, unless it is
        wanted elsewhere. `DigestMismatch` and `StorageFailed` as for ``seal``.
        """

    @abstractmethod
    def supersede(self, id_: str) -> None:
        """Become the stage *id_*, durably (blocking).

        Holders of the old stage of that name continue in bytes that nobody will read. The wanted
        ones have been copied here and synced.
        """

    @abstractmethod
    def is_current(self) -> bool:
        """Return whether its id still refers to it (blocking).

        It does not once it is sealed, dropped, or superseded.
        """

    @abstractmethod
    def seal(self, digest: Digest, size: int) -> None:
        """Turn the first *size* bytes into the blob *digest*, durably; end the stage (blocking).

        The caller has computed *digest* from exactly those bytes, as received. If the blob exists
        already, one of the two equal copies stays. Bytes beyond *size* are dropped.
        `DigestMismatch` if there are fewer bytes, or others where they are read again on the way.
        `StorageFailed` if the medium fails: then what was synced before is still in the stage.
        Idempotent: sealing again after success changes nothing.
        """

    @abstractmethod
    async def discard(self) -> None:
        """Drop the bytes and the name. Idempotent, and allowed after ``seal``."""

    @abstractmethod
    def close(self) -> None:
        """Release the descriptor; the bytes stay for others that open the stage. Idempotent."""


STAGE_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


def check_stage_id(id_: str) -> str:
    """Return *id_* if it is valid for a stage, else raise `Invalid`."""
    if not STAGE_ID.fullmatch(id_):
        raise Invalid("A stage's id is 1 to 64 letters, digits, '-' or '_'.")
    return id_


class Stages(ABC):
    """Capability: bytes can be collected at their final offsets before their digest is known.

    Attributes:
        staging_id: identifies the staging directory: stores with the same stages have the same.
    """

    staging_id: str

    @abstractmethod
    async def stage(
        self, id_: str | None = None, reserve: int = 0, *, existing: bool = False
    ) -> Stage:
        """Open the stage *id_*, created if it is new (None: a fresh name).

        Raises `Invalid` for an id that is not 1 to 64 letters, digits, ``-`` or ``_``,
        `StorageFull` if there is no space for *reserve* bytes, and `NotFound` if it must be an
        *existing* stage and is not. A stage with a given name survives a crash of the machine from
        its first ``sync`` on.
        """

    @abstractmethod
    async def successor(self, id_: str, span: ByteRange) -> Stage | None:
        """Return a fresh stage that may `Stage.supersede` the stage *id_*, if needed; else None.

        It is needed if somebody occupies bytes of *span*, even after being stopped: a write that
        has begun cannot be cancelled.
        """

    @abstractmethod
    async def room(self) -> int | None:
        """Return the bytes that can still be stored, approximately; None: no known limit."""

    @abstractmethod
    async def stages(self) -> Sequence[str]:
        """Return the ids of the existing stages."""

    @abstractmethod
    async def sweep(self, ids: Iterable[str]) -> int:
        """Drop those of the stages *ids* that no living process holds open; returns how many.

        A crash leaves such stages behind. Callers look at `stages` first and find out afterwards
        which of them are still wanted: a stage is wanted before it is created.
        """
