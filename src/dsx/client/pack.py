"""Reads the TAR of small files that ``POST …/pack`` streams (see `dsx.core.tar_layout`).

Python's tarfile takes about as long per member as the network; this reads only the format that the
hub writes: a pax header, a ustar header, the content, padding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from dsx.client.errors import Unprocessable
from dsx.core.digest import Digest, digest_of
from dsx.core.tar_layout import BLOCK, SHA256_RECORD

_CHUNK = 1024 * 1024
_MAX_MEMBER = 64 * 1024 * 1024
_NANOSECONDS = 10**9


class Raw(Protocol):
    """A body without its transfer coding."""

    def read(self, amt: int, /) -> bytes:
        """Read up to *amt* bytes; none at the end."""


class CutShort(Exception):
    """The stream ended before the end of the archive."""


@dataclass(frozen=True, slots=True)
class Packed:
    """One file of a pack; *intact*: its content has the declared SHA-256."""

    path: str
    data: bytes
    mtime_ns: int
    sha256: Digest
    intact: bool


def members(raw: Raw) -> Iterator[Packed]:
    """Iterate over the files of a pack, in order.

    Raises `CutShort` if the stream ends early, and `Unprocessable` if it is not a pack or has a
    member too large for memory.
    """
    reader = _Reader(raw)
    while True:
        head = reader.take(BLOCK)
        if not head.strip(b"\0"):
            reader.drain()
            return
        try:
            records = _records(reader.take_padded(_size_of_pax_header(head)))
            reader.take(BLOCK)
            data = reader.take_padded(int(records["size"]))
            sha256 = digest_of(data)
            yield Packed(
                records["path"],
                data,
                _nanoseconds(records["mtime"]),
                sha256,
                intact=sha256 == records[SHA256_RECORD],
            )
        except (KeyError, ValueError) as error:
            raise Unprocessable(f"The server sent an invalid pack: {error}") from None


class _Reader:
    def __init__(self, raw: Raw) -> None:
        self._raw = raw
        self._buffer = b""
        self._position = 0

    def take(self, size: int) -> bytes:
        """Read exactly *size* bytes."""
        if not 0 <= size <= _MAX_MEMBER:
            raise ValueError(f"a member of {size} bytes")
        stop = self._position + size
        if stop > len(self._buffer):
            self._fill(size)
            stop = size
        data = self._buffer[self._position : stop]
        self._position = stop
        return data

    def take_padded(self, size: int) -> bytes:
        """Read *size* bytes, and skip the padding to whole blocks."""
        return self.take(size + -size % BLOCK)[:size]

    def drain(self) -> None:
        """Read the rest of the stream, so that the connection can be reused."""
        while self._raw.read(_CHUNK):
            pass

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


def _size_of_pax_header(head: bytes) -> int:
    if head[156:157] != b"x":
        raise ValueError("a member without a pax header")
    return int(head[124:136].strip(b"\0 "), 8)


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
