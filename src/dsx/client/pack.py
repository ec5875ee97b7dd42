"""Reads the TAR of small files that ``POST …/pack`` streams (see `dsx.core.tar`).

Python's tarfile takes about as long for a member as the network does; this reads just the format
the hub writes: a pax header, a ustar header, the content, padding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from dsx.core.digest import Digest, digest_of, parse_digest
from dsx.core.errors import DigestMismatch, Unprocessable
from dsx.core.tar import BLOCK, SHA256_RECORD

_CHUNK = 1024 * 1024
_NANOSECONDS = 10**9


class Raw(Protocol):
    """What is read from: a body without its transfer coding."""

    def read(self, amt: int, /) -> bytes:
        """Up to *amt* bytes; none at the end."""


class CutShort(Exception):
    """The stream ended before the archive did."""


@dataclass(frozen=True, slots=True)
class Packed:
    """One file of a pack: its content has the SHA-256 it came with."""

    path: str
    data: bytes
    mtime_ns: int
    sha256: Digest


def members(raw: Raw) -> Iterator[Packed]:
    """The files of a pack, in order, verified.

    Raises `CutShort` if the stream ends early, `DigestMismatch` if a content is not what its
    record says, `Unprocessable` if it is no pack at all.
    """
    reader = _Reader(raw)
    while True:
        head = reader.take(BLOCK)
        if not head.strip(b"\0"):
            return
        if head[156:157] != b"x":
            raise Unprocessable("The server's pack has a member without a pax header.")
        records = _records(reader.take_padded(_octal(head[124:136])))
        reader.take(BLOCK)
        try:
            size, mtime, digest = records["size"], records["mtime"], records[SHA256_RECORD]
            data = reader.take_padded(int(size))
            packed = Packed(records["path"], data, _nanoseconds(mtime), parse_digest(digest))
        except (KeyError, ValueError) as error:
            raise Unprocessable(f"The server's pack lacks a record: {error}") from None
        if digest_of(packed.data) != packed.sha256:
            raise DigestMismatch(f"The bytes of {packed.path!r} were changed on the way.")
        yield packed


class _Reader:
    def __init__(self, raw: Raw) -> None:
        self._raw = raw
        self._buffer = b""
        self._position = 0

    def take(self, size: int) -> bytes:
        """Exactly *size* bytes."""
        stop = self._position + size
        if stop > len(self._buffer):
            self._fill(size)
            stop = size
        data = self._buffer[self._position : stop]
        self._position = stop
        return data

    def take_padded(self, size: int) -> bytes:
        """*size* bytes, and the padding to whole blocks away."""
        return self.take(size + -size % BLOCK)[:size]

    def _fill(self, size: int) -> None:
        parts = [self._buffer[self._position :]]
        have = len(parts[0])
        while have < size:
            chunk = self._raw.read(_CHUNK)
            if not chunk:
                raise CutShort
            parts.append(chunk)
            have += len(chunk)
        self._buffer, self._position = b"".join(parts), 0


def _octal(field: bytes) -> int:
    try:
        return int(field.strip(b"\0 ") or b"0", 8)
    except ValueError:
        raise Unprocessable("The server's pack is not a TAR archive.") from None


def _records(data: bytes) -> dict[str, str]:
    records = {}
    position = 0
    while position < len(data):
        length = int(data[position : data.index(b" ", position)])
        key, _, value = data[position : position + length - 1].partition(b" ")[2].partition(b"=")
        records[key.decode()] = value.decode()
        position += length
    return records


def _nanoseconds(mtime: str) -> int:
    seconds, _, fraction = mtime.partition(".")
    return int(seconds) * _NANOSECONDS + int(fraction.ljust(9, "0")[:9] or 0)
