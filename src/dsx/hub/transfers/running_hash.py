"""Hashes that follow uploads, so that finishing is free if the bytes arrived in order.

A running hash covers the bytes from 0 on, as far as it has come. Writers in order feed it what they
write; where parts arrived out of order, it reads them back once the gap before them is closed.
Running hashes live in one process: another one, or the next, starts again at 0 and reads.

Hashed bytes may turn out not to be kept: they were refused, or the disk lost them before they were
durable. The hash then goes back to the last recorded `Mark`, so that it always covers exactly the
received bytes.
"""

from __future__ import annotations

import hmac
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dsx.blobs.contract import Stage
from dsx.core.digest import Buffer, Hasher
from dsx.core.errors import DigestMismatch, Gone
from dsx.core.model import BlobInfo
from dsx.core.transfers import Upload

_CHUNK = 1024 * 1024
_KEPT = 1024
_STRIDE = 256 * _CHUNK  # read back before a response: a fraction of a second


@dataclass(frozen=True, slots=True)
class Mark:
    """A snapshot of the hash: *hasher* is not fed any more."""

    epoch: int
    hasher: Hasher


class RunningHash:
    """The hash of one upload's first bytes. Methods are blocking."""

    def __init__(self, generation: int, algorithms: Iterable[str]) -> None:
        self.generation = generation
        self.hasher = Hasher(algorithms)
        self._lock = threading.Lock()
        self._kept = Mark(0, self.hasher.copy())

    def feed(self, start: int, data: Buffer) -> None:
        """Hash *data* if it is next in order; else it will be read back later."""
        if self._lock.acquire(blocking=False):
            try:
                if self.hasher.size == start:
                    self.hasher.update(data)
            finally:
                self._lock.release()

    def mark(self, position: int) -> Mark | None:
        """Return the hash of the first *position* bytes, if that is its current position."""
        if not self._lock.acquire(blocking=False):
            return None
        try:
            if self.hasher.size != position:
                return None
            return Mark(self._kept.epoch, self.hasher.copy())
        finally:
            self._lock.release()

    def keep(self, mark: Mark | None, prefix: int) -> None:
        """Record that the first *prefix* bytes are kept: a *mark* within them becomes permanent.

        A mark from before a rollback may include bytes that were not kept.
        """
        with self._lock:
            if mark and mark.epoch == self._kept.epoch and mark.hasher.size <= prefix:
                self._kept = mark

    def go_back(self, mark: Mark | None = None) -> Mark:
        """Roll back the bytes after *mark*, or after the last permanent mark.

        Returns the new position; earlier marks are invalid from then on.
        """
        with self._lock:
            current = mark is not None and mark.epoch == self._kept.epoch
            self.hasher = (mark if mark and current else self._kept).hasher.copy()
            self._kept = Mark(self._kept.epoch + 1, self._kept.hasher)
            return Mark(self._kept.epoch, self.hasher.copy())

    def follow(self, stage: Stage, stop: int) -> None:
        """Hash some of the missing bytes up to *stop*, unless another thread is doing so."""
        if self._lock.acquire(blocking=False):
            try:
                self._read(stage, min(stop, self.hasher.size + _STRIDE))
            finally:
                self._lock.release()

    def reach(self, stage: Stage, stop: int) -> None:
        """Hash everything up to *stop*."""
        with self._lock:
            self._read(stage, stop)

    def blob(self, upload: Upload) -> BlobInfo:
        """Return the digest of the bytes so far if *upload* expects it; else `DigestMismatch`."""
        for algorithm, expected in upload.expected.items():
            found = self.hasher.hexdigest(algorithm)
            if not hmac.compare_digest(found, expected):
                raise another_digest(algorithm, expected, found)
        return BlobInfo(self.hasher.digest, self.hasher.size, self.hasher.crc32)

    def _read(self, stage: Stage, stop: int) -> None:
        while self.hasher.size < stop:
            size = min(_CHUNK, stop - self.hasher.size)
            data = stage.read(self.hasher.size, size)
            if not data:
                raise Gone("The upload's bytes are no longer on disk; start again.")
            self.hasher.update(data)


class RunningHashes:
    """The running hashes of this process: the most recently used `_KEPT` of them."""

    def __init__(self) -> None:
        self._tails: OrderedDict[str, RunningHash] = OrderedDict()

    def of(self, upload: Upload, also: Iterable[str] = ()) -> RunningHash:
        """Return the running hash of *upload*, started now if there is no valid one.

        It computes the expected algorithms, and *also*.
        """
        algorithms = {*upload.expected, *also}
        tail = self._tails.pop(upload.id, None)
        if (
            tail is None
            or tail.generation != upload.generation
            or not tail.hasher.computes(algorithms)
        ):
            tail = RunningHash(upload.generation, algorithms)
        self._tails[upload.id] = tail
        if len(self._tails) > _KEPT:
            self._tails.popitem(last=False)
        return tail

    def anew(self, upload: Upload) -> RunningHash:
        """Return a new running hash of *upload* that starts at 0."""
        self.drop(upload.id)
        return self.of(upload)

    def drop(self, upload: str) -> None:
        """Drop a running hash: the upload has ended, or other bytes were kept than hashed."""
        self._tails.pop(upload, None)


def check_announced(upload: Upload, digests: Mapping[str, str]) -> None:
    """Raise `DigestMismatch` if one of *digests* differs from an expected or computed one."""
    for algorithm, value in digests.items():
        known = upload.expected.get(algorithm, value)
        if algorithm == "sha256" and upload.blob is not None:
            known = upload.blob.digest
        if known != value:
            raise another_digest(algorithm, value, known)


def another_digest(algorithm: str, expected: str, found: str) -> DigestMismatch:
    """Return the failure of an upload whose bytes do not match an expected digest."""
    return DigestMismatch(
        f"The {algorithm} of the bytes differs from the expected one; the upload is "
        "kept: abort it and start again.",
        {"algorithm": algorithm, "expected": expected, "received": found},
    )
