"""The contract of every place that holds blobs.

Every implementation, and every wrapper around one, passes ``dsx.testing.blobs``. Optional
capabilities (`Locates`, `Stages`) are asked for with ``isinstance`` and never faked.
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
        `DigestMismatch` when the bytes are others (nothing is stored) and `StorageFull` when there
        is no room. If *chunks* raises, nothing is stored and the exception goes through.
        """

    @abstractmethod
    async def open(
        self, digest: Digest, range_: ByteRange | None = None
    ) -> tuple[int, AsyncIterator[bytes]]:
        """The blob's full size, and its bytes (or those of *range_*) in chunks of bounded size.

        Raises `NotFound` at once, `RangeUnsatisfiable` if *range_* exceeds the blob. A reader that
        has begun keeps reading the same bytes even if the blob is deleted meanwhile.
        """

    @abstractmethod
    async def stat(self, digests: Iterable[Digest]) -> dict[Digest, int]:
        """Sizes in bytes of those of *digests* that are stored; absent ones are left out."""

    async def confirm(self, digest: Digest, size: int) -> bool:
        """Whether there is a blob *digest* of *size* bytes; if so, it survives a crash from here.

        For a blob that somebody else made, of whom nobody knows whether they lived to sync it.
        """
        return (await self.stat([digest])).get(digest) == size

    @abstractmethod
    async def list(self, after: Digest | None = None, limit: int = 1000) -> Sequence[Digest]:
        """Up to *limit* digests greater than *after*, ascending; fewer mean the end."""

    @abstractmethod
    async def delete(self, digests: Iterable[Digest]) -> None:
        """Remove blobs; those that are absent are not an error."""

    @abstractmethod
    async def quarantine(self, digests: Iterable[Digest]) -> None:
        """Set blobs aside: gone for every other method, their bytes kept until `expunge`.

        For damaged blobs and for those that no record names. Absent ones are not an error. The
        same content may be stored anew; setting it aside again replaces the copy set aside before.
        """

    @abstractmethod
    async def quarantined(
        self, after: Digest | None = None, limit: int = 1000
    ) -> Sequence[Quarantined]:
        """Up to *limit* quarantined blobs with digests greater than *after*, ascending."""

    @abstractmethod
    async def release(self, digests: Iterable[Digest]) -> None:
        """Make quarantined blobs visible again as they are, unless they have been stored anew.

        Nothing is verified. Those that are not in quarantine are not an error.
        """

    @abstractmethod
    async def expunge(self, digests: Iterable[Digest]) -> None:
        """Drop blobs from the quarantine for good; those that are not in it are not an error."""

    @abstractmethod
    async def label(self) -> bytes | None:
        """The short note left by `set_label`; None if there is none."""

    @abstractmethod
    async def set_label(self, note: bytes) -> None:
        """Keep *note*, of at most 4 KiB, durably beside the blobs; it replaces the one before."""

    @abstractmethod
    async def aclose(self) -> None:
        """Release what the store holds. Idempotent."""


class Hides(ABC):
    """Capability: blobs can be taken out of sight at once, and freed later."""

    @abstractmethod
    def hide(self, digests: Iterable[Digest]) -> Sequence[str]:
        """Make blobs stages that nobody holds; their ids (blocking, but short).

        From here on they are absent and may be stored anew; `Stages.sweep` frees them. Absent ones
        are left out.
        """

    @abstractmethod
    async def sweep(self, ids: Iterable[str]) -> int:
        """See `Stages.sweep`."""


class Locates(ABC):
    """Capability: blobs are files of this machine, which the sender may read without copying."""

    @abstractmethod
    def locate(self, digest: Digest) -> Path:
        """Where the blob lies if it is stored. Does no I/O; opening the path tells."""


class Stage(ABC):
    """Bytes on their way in: parts written at their final offset, then sealed without copying.

    All but ``discard`` is blocking and meant for worker threads; writers of disjoint ranges may run
    at once, in several threads or processes.
    """

    id: str

    @abstractmethod
    def write(self, offset: int, data: Buffer) -> None:
        """Write all of *data* at *offset* (blocking).

        Raises `StorageFull` without room, `TooLarge` where the medium holds no file of that size,
        `StorageFailed` if the medium fails; after the last, only what was synced before counts.
        """

    @abstractmethod
    def occupy(self, span: ByteRange) -> None:
        """Say, until this is closed, that bytes of *span* may be written through it (blocking).

        It goes on being said while a thread or process that writes is stopped; see
        `Stages.successor`.
        """

    @abstractmethod
    def sync(self) -> None:
        """Return once everything written so far survives a crash of the machine (blocking).

        If this raises, whatever it is, nothing counts that was written since the last success, by
        any writer of this stage: calling it again raises `StorageFailed`. Who goes on opens the
        stage anew and writes those bytes again.
        """

    @abstractmethod
    def read(self, offset: int, size: int) -> bytes:
        """Up to *size* bytes from *offset*; fewer only at the end (blocking)."""

    def reread(self) -> None:  # noqa: B027 (may be left out)
        """Have what is read next come from the medium, not from memory (blocking).

        After a failure memory may still show bytes that never reached the medium.
        """

    async def prepare(self, digest: Digest, size: int) -> None:  # noqa: B027 (may be left out)
        """Do what is long about a ``seal`` with the same arguments, so that this one is short.

        For a caller that is going to seal while others wait for it. It changes nothing about what
        ``seal`` promises: if this is left out, or a removal of equal bytes undoes it, ``seal`` does
        it all. The blob may be visible from here on: who does not seal in the end has to remove it,
        unless somebody else wants it. `DigestMismatch` and `StorageFailed` as for ``seal``.
        """

    @abstractmethod
    def supersede(self, id_: str) -> None:
        """Become the stage *id_*, durably (blocking).

        Who has the one of that name open goes on in bytes that nobody will read. What is wanted of
        them has been copied here and synced.
        """

    @abstractmethod
    def is_current(self) -> bool:
        """Whether it is what its id stands for: not sealed, dropped, or superseded (blocking)."""

    @abstractmethod
    def seal(self, digest: Digest, size: int) -> None:
        """Turn the first *size* bytes into the blob *digest*, durably; end the stage (blocking).

        The caller has computed *digest* from exactly those bytes, as they came. If the blob exists
        already, one of the two equal copies stays. What lies beyond *size* is dropped.
        `DigestMismatch` if there are fewer bytes, or others where they are read again on the way.
        `StorageFailed` if the medium fails: then what was synced before is still in the stage.
        Idempotent: sealing again after success changes nothing.
        """

    @abstractmethod
    async def discard(self) -> None:
        """Drop the bytes and the name. Idempotent, and allowed after ``seal``."""

    @abstractmethod
    def close(self) -> None:
        """Release the descriptor; the bytes stay for whoever opens the stage again. Idempotent."""


STAGE_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


def check_stage_id(id_: str) -> str:
    """*id_*, or `Invalid` if no stage can have it."""
    if not STAGE_ID.fullmatch(id_):
        raise Invalid("A stage's id is 1 to 64 letters, digits, '-' or '_'.")
    return id_


class Stages(ABC):
    """Capability: bytes can be collected at their final offsets before their digest is known.

    Attributes:
        staging_id: of where the stages are: stores that see the same stages have the same.
    """

    staging_id: str

    @abstractmethod
    async def stage(
        self, id_: str | None = None, reserve: int = 0, *, existing: bool = False
    ) -> Stage:
        """Open the stage *id_*, made if it is new (None: a fresh name).

        Raises `Invalid` for an id that is not 1 to 64 letters, digits, ``-`` or ``_``,
        `StorageFull` if there is no room for *reserve* bytes, and `NotFound` if it has to be
        an *existing* stage and is not. A stage with a given name survives a crash of the machine
        from its first ``sync`` on.
        """

    @abstractmethod
    async def successor(self, id_: str, span: ByteRange) -> Stage | None:
        """A fresh stage that may `Stage.supersede` the stage *id_*, if that is needed; else None.

        It is if somebody occupies bytes of *span*, be it one who was told to stop: a write that has
        begun cannot be called back.
        """

    @abstractmethod
    async def room(self) -> int | None:
        """Bytes that can still be stored, as far as one can tell; None: no bound is known."""

    @abstractmethod
    async def stages(self) -> Sequence[str]:
        """Ids of the stages that exist."""

    @abstractmethod
    async def sweep(self, ids: Iterable[str]) -> int:
        """Drop those of the stages *ids* that no living process holds open; how many there were.

        A crash leaves such stages behind. Who calls this has looked at `stages` first and found
        out afterwards which of them are still wanted: a stage is wanted before it is made.
        """
