"""The bytes of an upload that have arrived: a sorted set of half-open intervals."""

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
        """Create from the result of `pairs`."""
        return cls(tuple(ByteRange(start, stop) for start, stop in pairs))

    def add(self, new: ByteRange) -> IntervalSet:
        """Return a set that also has *new*, merged with what it overlaps or touches."""
        if new.start >= new.stop:
            return self
        before = [part for part in self.parts if part.stop < new.start]
        after = [part for part in self.parts if part.start > new.stop]
        joined = self.parts[len(before) : len(self.parts) - len(after)]
        start = min([new.start, *(part.start for part in joined)])
        stop = max([new.stop, *(part.stop for part in joined)])
        return IntervalSet((*before, ByteRange(start, stop), *after))

    def remove(self, old: ByteRange) -> IntervalSet:
        """Return a set without the bytes of *old*."""
        left = []
        for part in self.parts:
            before = ByteRange(part.start, min(part.stop, old.start))
            after = ByteRange(max(part.start, old.stop), part.stop)
            pieces = (before, after) if old.start < old.stop else (part,)
            left += [piece for piece in pieces if piece.start < piece.stop]
        return IntervalSet(tuple(left))

    @property
    def prefix(self) -> int:
        """Number of bytes present from 0 on without a gap."""
        return self.parts[0].stop if self.parts and self.parts[0].start == 0 else 0

    @property
    def size(self) -> int:
        """Total bytes of all intervals."""
        return sum(part.size for part in self.parts)

    @property
    def end(self) -> int:
        """The end of the last interval."""
        return self.parts[-1].stop if self.parts else 0

    def covers(self, length: int) -> bool:
        """Return whether the set is exactly ``[0, length)``."""
        return self.end == self.prefix == length

    def split(self, wanted: ByteRange) -> Iterator[tuple[ByteRange, bool]]:
        """Yield *wanted* cut at the interval boundaries, each piece with whether it is present."""
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
        """Return the gaps in ``[0, length)``."""
        return [piece for piece, there in self.split(ByteRange(0, length)) if not there]

    def pairs(self) -> list[list[int]]:
        """Return ``[[start, stop], …]``, for JSON."""
        return [[part.start, part.stop] for part in self.parts]
