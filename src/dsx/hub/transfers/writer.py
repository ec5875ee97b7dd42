"""Writes the bytes of one request into an upload's stage."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from collections.abc import Callable
from concurrent.futures import Future

from dsx.blobs.contract import Stage
from dsx.core.digest import Buffer
from dsx.core.errors import Conflict, Invalid, PartCorrupt, TooLarge
from dsx.core.intervals import IntervalSet
from dsx.core.ranges import ByteRange
from dsx.core.transfers import PartDigest
from dsx.hub.files.allowances import Allowance
from dsx.hub.files.receiver import hash_beside
from dsx.hub.transfers.control import Control, Controls, stale, unseen
from dsx.hub.transfers.running_hash import Mark, RunningHash

Write = Callable[[Buffer], object]

_CHUNK = 1024 * 1024
_PATIENCE = 5.0


class WriteFence:
    """Decides whether a transfer may write; checked before every piece."""

    def __init__(self, control: Control, controls: Controls) -> None:
        self._control = control
        self._look = controls.look
        self._loop = asyncio.get_running_loop()

    def check(self) -> None:
        """Raise unless it may write (blocking). Queries the catalog if the last check is old."""
        deadline = time.monotonic() + _PATIENCE
        while stale(self._control):  # a slow check may already be stale when it ends
            looking: Future[None] = asyncio.run_coroutine_threadsafe(self._look(), self._loop)
            try:
                looking.result(max(0.0, deadline - time.monotonic()))
            except TimeoutError:
                raise unseen() from None
        self._control.check()


class StageWriter:
    """Writes a request's bytes at their final offset, beside existing ones.

    ``reached`` is the position, with the hash up to there if known; ``exactly`` the number of bytes
    the request must have, if declared. Bytes that arrived before are compared, not written:
    identical ones are fine, others are a `Conflict`.
    """

    def __init__(
        self,
        stage: Stage,
        guard: WriteFence,
        tail: RunningHash | None,
        *,
        start: int,
        received: IntervalSet,
        limit: int | None,
    ) -> None:
        """Begin at *start*; `TooLarge` beyond *limit*. None as *tail*: do not hash now."""
        self.start = start
        self.reached: tuple[int, Mark | None] = start, None
        self.exactly: int | None = None
        self.allowance: Allowance | None = None
        self._stage = stage
        self._received = received
        self._limit = limit
        self._tail = tail
        self._guard = guard

    @property
    def position(self) -> int:
        """The end of the received bytes."""
        return self.reached[0]

    @property
    def span(self) -> ByteRange:
        """The bytes received by this writer."""
        return ByteRange(self.start, self.position)

    def write(self, data: Buffer) -> None:
        """Write the next bytes (blocking, in a worker thread)."""
        self._guard.check()
        view = memoryview(data)
        if self.exactly is not None and self.span.size + len(view) > self.exactly:
            raise self._miscounted("more")
        if self._limit is not None and self.position + len(view) > self._limit:
            raise TooLarge(
                f"The body exceeds the {self._limit} bytes declared or allowed.",
                {"limit": self._limit},
            )
        stop = self.position + len(view)
        if self._tail is None:
            self._put(view)
        elif any(there for _, there in self._received.split(ByteRange(self.position, stop))):
            self._put(view)  # first: the shared hash must not include refused bytes
            self._tail.feed(self.position, view)
        else:
            with hash_beside(self._tail.feed, self.position, view):
                self._put(view)
        self.reached = stop, self._tail.mark(stop) if self._tail else None

    def keep(self, mark: Mark | None, prefix: int) -> None:
        """Record that the upload's first *prefix* bytes are kept: see `RunningHash.keep`."""
        if self._tail is not None:
            self._tail.keep(mark, prefix)

    def go_back(self, *, kept: bool) -> None:
        """Roll the running hash back: to the last record, or to what is *kept*."""
        if self._tail is not None:
            position, mark = self.reached
            self.reached = position, self._tail.go_back(mark if kept else None)

    def end(self) -> None:
        """End the body: raise `Invalid` if it was too short."""
        if self.exactly is not None and self.span.size < self.exactly:
            raise self._miscounted(f"{self.span.size}")

    def verify(self, expected: PartDigest) -> None:
        """Raise `PartCorrupt` unless the received bytes hash to *expected* (blocking)."""
        hasher = hashlib.new(expected.algorithm, usedforsecurity=False)
        for offset in range(self.start, self.position, _CHUNK):
            hasher.update(self._stage.read(offset, min(_CHUNK, self.position - offset)))
        if not hmac.compare_digest(hasher.digest(), expected.value):
            raise PartCorrupt(
                f"The {expected.algorithm} of the bytes differs from the expected one: they "
                "changed in transit; send them again.",
                {"offset": self.start},
            )

    def _miscounted(self, found: str) -> Invalid:
        return Invalid(
            f"The request declared {self.exactly} bytes but sent {found}. None were kept.",
            {"offset": self.start},
        )

    def _put(self, view: memoryview) -> None:
        whole = ByteRange(self.position, self.position + len(view))
        for piece, there in self._received.split(whole):
            part = view[piece.start - whole.start : piece.stop - whole.start]
            if not there:
                if self.allowance is not None:
                    self.allowance.add(piece.size)
                self._stage.write(piece.start, part)
            elif self._stage.read(piece.start, piece.size) != part:
                raise Conflict(
                    "This part was already received with other bytes.", {"offset": piece.start}
                )
