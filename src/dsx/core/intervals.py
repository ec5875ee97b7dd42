"""Which bytes of an upload have arrived: a sorted set of half-open intervals."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from dsx.core.ranges import ByteRange


@dataclass(frozen=True, slots=True)
class IntervalSet:
    """Intervals that neither overlap nor touch, in ascending order."""

    parts: tuple[ByteRange, ...] = ()

    @classmethod
    def of(cls, pairs: Iterable[Sequence[int]]) -> IntervalSet:
        """From what `pairs` gave."""
        return cls(tuple(ByteRange(start, stop) for start, stop in pairs))

    def add(self, new: ByteRange) -> IntervalSet:
        """With *new* in it, joined with what it overlaps or touches."""
        if new.start >= new.stop:
            return self
        before = [part for part in self.parts if part.stop < new.start]
        after = [part for part in self.parts if part.start > new.stop]
        joined = self.parts[len(before) : len(self.parts) - len(after)]
        start = min([new.start, *(part.start for part in joined)])
        stop = max([new.stop, *(part.stop for part in joined)])
        return IntervalSet((*before, ByteRange(start, stop), *after))

    def remove(self, old: ByteRange) -> IntervalSet:
        """Without the bytes of *old*."""
        left = []
        for part in self.parts:
            before = ByteRange(part.start, min(part.stop, old.start))
            after = ByteRange(max(part.start, old.stop), part.stop)
            pieces = (before, after) if old.start < old.stop else (part,)
            left += [piece for piece in pieces if piece.start < piece.stop]
        return IntervalSet(tuple(left))

    @property
    def prefix(self) -> int:
        """How many bytes from 0 on are there without a gap."""
        return self.parts[0].stop if self.parts and self.parts[0].start == 0 else 0

    @property
    def size(self) -> int:
        """Bytes in all intervals together."""
        return sum(part.size for part in self.parts)

    @property
    def end(self) -> int:
        """The end of the last interval."""
        return self.parts[-1].stop if self.parts else 0

    def covers(self, length: int) -> bool:
        """Whether bytes ``[0, length)`` are all there, and none beyond."""
        return self.end == self.prefix == length

    def split(self, wanted: ByteRange) -> Iterator[tuple[ByteRange, bool]]:
        """*wanted* cut where it enters or leaves an interval, each piece with "is there"."""
        position = wanted.start
        for part in self.parts:
            if part.stop <= position:
                continue
            if part.start >= wanted.stop:
                break
            if part.start > position:
                yield ByteRange(position, part.start), False
                position = part.start
            stop = min(part.stop, wanted.stop)
            yield ByteRange(position, stop), True
            position = stop
        if position < wanted.stop:
            yield ByteRange(position, wanted.stop), False

    def missing(self, length: int) -> list[ByteRange]:
        """The gaps in ``[0, length)``."""
        return [piece for piece, there in self.split(ByteRange(0, length)) if not there]

    def pairs(self) -> list[list[int]]:
        """``[[start, stop], …]``: what JSON can hold."""
        return [[part.start, part.stop] for part in self.parts]
