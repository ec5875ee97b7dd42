"""The parts in which a large file is sent, and their synchronization."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

from dsx.client.local_file import LocalFile
from dsx.client.models import UploadInfo
from dsx.client.progress import Meter
from dsx.core.intervals import IntervalSet
from dsx.core.ranges import ByteRange

PART = 16 * 1024 * 1024
MAX_PARTS = 2000
CHUNK = 512 * 1024
POLL = 0.5
"""Seconds between polls."""


class PartBody:
    """The body of one part, straight from the file.

    It is an iterable, not a file: the HTTP library would read a file in pieces of 16 KiB.
    """

    def __init__(self, file: LocalFile, span: ByteRange, meter: Meter) -> None:
        self.len = span.size  # how requests learns the length
        self._file = file
        self._span = span
        self._meter = meter
        self._told = 0

    def __iter__(self) -> Iterator[bytes]:
        for data in self._file.pieces(self._span.start, self._span.stop, CHUNK):
            self._meter.add(len(data))
            self._told += len(data)
            yield data

    def undo(self) -> None:
        """Take back the reported progress: the bytes sent may not have arrived."""
        told, self._told = self._told, 0
        self._meter.add(-told)


class Followed:
    """The bytes sent so far, for a reader that stays behind the senders."""

    def __init__(self, there: IntervalSet, meter: Meter) -> None:
        self._there = there
        self._meter = meter
        self._changed = threading.Condition()

    def add(self, span: ByteRange) -> None:
        """Record the bytes of *span* as sent."""
        with self._changed:
            self._there = self._there.add(span)
            self._changed.notify_all()

    def wait(self, position: int) -> int:
        """Wait until the byte at *position* has been sent; return the end of the gapless prefix."""
        with self._changed:
            while self._there.prefix <= position:
                self._meter.check()
                self._changed.wait(POLL)
            return self._there.prefix


class Gate:
    """Holds back the parts of an upload while its task is paused."""

    def __init__(
        self, look: Callable[[str], UploadInfo], tell: Callable[[str, str], None], meter: Meter
    ) -> None:
        """*look* requests the state of an upload; *tell* is called with a new state and its id."""
        self._look = look
        self._tell = tell
        self._meter = meter
        self._lock = threading.Lock()

    def wait(self, id_: str) -> None:
        """Return once the task is resumed; one thread polls while the others wait for it."""
        with self._lock:
            self._meter.check()
            told = False
            while self._look(id_).paused:
                if not told:
                    self._tell("paused", id_)
                told = True
                time.sleep(POLL)
                self._meter.check()
            if told:
                self._tell("running", id_)


def parts(there: IntervalSet, size: int) -> list[ByteRange]:
    """Return the ranges of *size* bytes missing from *there*, cut at multiples of a part's size."""
    step = max(PART, -(-size // (MAX_PARTS * PART)) * PART)
    return [gap for start in range(0, size, step)
            for gap in gaps(there, ByteRange(start, min(size, start + step)))]  # fmt: skip


def gaps(there: IntervalSet, wanted: ByteRange) -> list[ByteRange]:
    """Return the ranges of *wanted* that are missing from *there*."""
    return [piece for piece, has in there.split(wanted) if not has]
