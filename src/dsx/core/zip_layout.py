"""The layout of a ZIP archive of stored entries (PKWARE APPNOTE 6.3.10), computed without I/O.

Sizes and CRC-32s are known beforehand, and therefore every header, so any byte range of the archive
can be produced without producing what precedes it. Every entry is written in ZIP64 form (§4.5.3):
one layout whatever the sizes.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath

from dsx.core.model import Micros

_UTF8 = 1 << 11
_NEEDS = 45  # version 4.5: ZIP64
_UNIX = 3 << 8
_MODE = 0o100644 << 16
_MAX32, _MAX16 = 0xFFFFFFFF, 0xFFFF
_LOCAL = struct.Struct("<IHHHHHIIIHH")
_CENTRAL = struct.Struct("<IHHHHHHIIIHHHHHII")
_END64 = struct.Struct("<IQHHIIQQQQ")
_LOCATOR = struct.Struct("<IIQI")
_END = struct.Struct("<IHHHHIIH")
_EXTRA_LOCAL = struct.Struct("<HHQQ")
_EXTRA_CENTRAL = struct.Struct("<HHQQQ")


@dataclass(frozen=True, slots=True)
class Entry:
    """One stored file: its name in the archive, size in bytes, CRC-32 and modification time."""

    name: str
    size: int
    crc32: int
    modified: Micros


@dataclass(frozen=True, slots=True)
class Header:
    """Bytes of the archive that belong to no entry's content."""

    data: bytes

    @property
    def size(self) -> int:
        """Length in bytes."""
        return len(self.data)


@dataclass(frozen=True, slots=True)
class Body:
    """Bytes ``[start, stop)`` of the content of entry number *index*."""

    index: int
    start: int
    stop: int


def distinct_names(names: Sequence[str]) -> list[str]:
    """Return *names* with " (2)", " (3)" … before the suffix of repeated ones."""
    taken: set[str] = set()
    series: dict[str, Iterator[str]] = {}  # avoids quadratic time for many equal names
    result = []
    for name in names:
        candidate = name
        if candidate in taken:
            if name not in series:
                series[name] = _numbered(name)
            candidate = next(other for other in series[name] if other not in taken)
        taken.add(candidate)
        result.append(candidate)
    return result


def _numbered(name: str) -> Iterator[str]:
    path = PurePosixPath(name)
    before = str(path.with_name(path.stem))
    return (f"{before} ({count}){path.suffix}" for count in itertools.count(2))


def total_size(entries: Sequence[Entry]) -> int:
    """Length of the whole archive in bytes."""
    per_entry = sum(_local_size(entry) + entry.size + _central_size(entry) for entry in entries)
    return per_entry + _END64.size + _LOCATOR.size + _END.size


def parts(entries: Sequence[Entry], start: int, stop: int) -> Iterator[Header | Body]:
    """Yield the parts of bytes ``[start, stop)`` of the archive, in order, without empty ones."""
    position = 0
    for index, entry in enumerate(entries):
        first = position + _local_size(entry)
        if start < first and position < stop:
            yield from _cut(_local(entry), position, start, stop)
        low, high = max(start, first), min(stop, first + entry.size)
        if low < high:
            yield Body(index, low - first, high - first)
        position = first + entry.size
    yield from _directory(entries, position, start, stop)


def _directory(entries: Sequence[Entry], begin: int, start: int, stop: int) -> Iterator[Header]:
    """Yield the central directory and the end records, which begin at *begin*."""
    position, offset = begin, 0
    for entry in entries:
        size = _central_size(entry)
        if start < position + size and position < stop:
            yield from _cut(_central(entry, offset), position, start, stop)
        position += size
        offset += _local_size(entry) + entry.size
    yield from _cut(_end(len(entries), begin, position - begin), position, start, stop)


def _cut(data: bytes, position: int, start: int, stop: int) -> Iterator[Header]:
    """Yield the part of *data*, at *position*, that is in ``[start, stop)``."""
    part = data[max(0, start - position) : max(0, stop - position)]
    if part:
        yield Header(part)


def _local_size(entry: Entry) -> int:
    return _LOCAL.size + len(entry.name.encode()) + _EXTRA_LOCAL.size


def _central_size(entry: Entry) -> int:
    return _CENTRAL.size + len(entry.name.encode()) + _EXTRA_CENTRAL.size


def _local(entry: Entry) -> bytes:
    """Local file header (§4.3.7)."""
    name = entry.name.encode()
    time, date = _dos_time(entry.modified)
    fixed = _LOCAL.pack(
        0x04034B50, _NEEDS, _UTF8, 0, time, date, entry.crc32,
        _MAX32, _MAX32, len(name), _EXTRA_LOCAL.size,
    )  # fmt: skip
    return fixed + name + _EXTRA_LOCAL.pack(1, 16, entry.size, entry.size)


def _central(entry: Entry, offset: int) -> bytes:
    """Central directory header (§4.3.12)."""
    name = entry.name.encode()
    time, date = _dos_time(entry.modified)
    fixed = _CENTRAL.pack(
        0x02014B50, _UNIX | _NEEDS, _NEEDS, _UTF8, 0, time, date, entry.crc32,
        _MAX32, _MAX32, len(name), _EXTRA_CENTRAL.size, 0, 0, 0, _MODE, _MAX32,
    )  # fmt: skip
    return fixed + name + _EXTRA_CENTRAL.pack(1, 24, entry.size, entry.size, offset)


def _end(count: int, offset: int, size: int) -> bytes:
    """ZIP64 end record and locator, then the classic end record (§4.3.14 to §4.3.16)."""
    end64 = _END64.pack(
        0x06064B50, _END64.size - 12, _UNIX | _NEEDS, _NEEDS, 0, 0, count, count, size, offset
    )
    locator = _LOCATOR.pack(0x07064B50, 0, offset + size, 1)
    few = min(count, _MAX16)
    return end64 + locator + _END.pack(0x06054B50, 0, 0, few, few, _MAX32, _MAX32, 0)


def _dos_time(instant: Micros) -> tuple[int, int]:
    """Return time and date in MS-DOS form, UTC, clamped to its range (§4.4.6)."""
    moment = datetime.fromtimestamp(instant / 1_000_000, UTC)
    year = min(max(moment.year, 1980), 2107)
    time = moment.hour << 11 | moment.minute << 5 | moment.second // 2
    return time, (year - 1980) << 9 | moment.month << 5 | moment.day
