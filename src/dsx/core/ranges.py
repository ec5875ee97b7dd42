"""Byte ranges (RFC 9110 §14), as half-open intervals."""

from __future__ import annotations

import re
from dataclasses import dataclass

from dsx.core.errors import RangeUnsatisfiable

MAX_RANGES = 64
"""More ranges than this in one request are ignored and the whole is sent (RFC 9110 §14.2)."""

_SPEC = re.compile(r"(\d*)-(\d*)", re.ASCII)
_CONTENT = re.compile(r"bytes +(\d{1,19})-(\d{1,19})/(\d{1,19}|\*)", re.ASCII | re.IGNORECASE)
_MAX_DIGITS = 19


@dataclass(frozen=True, slots=True, order=True)
class ByteRange:
    """Bytes ``[start, stop)``."""

    start: int
    stop: int

    @property
    def size(self) -> int:
        """Length in bytes."""
        return self.stop - self.start

    def content_range(self, total: int) -> str:
        """``Content-Range`` value (RFC 9110 §14.4)."""
        return f"bytes {self.start}-{self.stop - 1}/{total}"


def parse_range(header: str, size: int) -> list[ByteRange] | None:
    """Return the satisfiable ranges of a ``Range`` field for a representation of *size* bytes.

    Overlapping or touching ranges are merged and the result is in ascending order, so the bytes
    sent never exceed *size*. None means "ignore the field and send the whole": another unit,
    malformed, or more than `MAX_RANGES`. Raises `RangeUnsatisfiable` if no range has a byte.
    """
    unit, equals, specs = header.partition("=")
    if unit.strip().lower() != "bytes" or not equals:
        return None
    parts = [part.strip() for part in specs.split(",") if part.strip()]
    if not parts or len(parts) > MAX_RANGES:
        return None
    found = []
    for part in parts:
        match = _SPEC.fullmatch(part)
        if match is None or part == "-" or len(part) > 2 * _MAX_DIGITS + 1:
            return None
        first, last = match.groups()
        if first and last and int(last) < int(first):
            return None
        found.append(_resolve(first, last, size))
    satisfiable = sorted(r for r in found if r.start < r.stop)
    if not satisfiable:
        raise RangeUnsatisfiable(
            f"No byte of the requested range exists; the size is {size}.", {"size": size}
        )
    return _merge(satisfiable)


def parse_content_range(header: str) -> tuple[int, int, int | None] | None:
    """Return first and last byte and complete length (None: unknown) of a ``Content-Range`` field.

    None if it is malformed; whether the numbers are consistent is not checked.
    """
    match = _CONTENT.fullmatch(header.strip())
    if match is None:
        return None
    first, last, length = match.groups()
    return int(first), int(last), None if length == "*" else int(length)


def _resolve(first: str, last: str, size: int) -> ByteRange:
    if not first:
        return ByteRange(max(0, size - int(last)), size)
    return ByteRange(int(first), min(size, int(last) + 1) if last else size)


def _merge(ranges: list[ByteRange]) -> list[ByteRange]:
    merged = [ranges[0]]
    for current in ranges[1:]:
        if current.start <= merged[-1].stop:
            merged[-1] = ByteRange(merged[-1].start, max(merged[-1].stop, current.stop))
        else:
            merged.append(current)
    return merged
