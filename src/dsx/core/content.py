"""Content to send: a representation of known size, in pieces that the sender can transfer.

A file, a byte range, a multipart/byteranges response and a ZIP archive all have the same form: a
`Content` whose ``pieces(start, stop)`` yields literal bytes, slices of local files (which go to the
socket without being copied through Python) and remote streams.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from dsx.core.digest import Digest


@dataclass(frozen=True, slots=True)
class Literal:
    """Bytes already in memory. Keep them small: headers, separators."""

    data: bytes

    @property
    def size(self) -> int:
        """Length in bytes."""
        return len(self.data)


@dataclass(frozen=True, slots=True)
class FileSlice:
    """``size`` bytes of a local file, from offset ``start``.

    ``open`` is blocking and returns a fresh descriptor that the sender closes. It raises a
    `DSXError` if the file is gone or has been replaced.
    """

    open: Callable[[], int]
    start: int
    size: int


@dataclass(frozen=True, slots=True)
class Stream:
    """``size`` bytes from a remote source; ``chunks()`` yields exactly that many."""

    chunks: Callable[[], AsyncIterator[bytes]]
    size: int


Piece = Literal | FileSlice | Stream


@dataclass(frozen=True, slots=True)
class Content:
    """One representation, ready to be sent whole or in ranges.

    Attributes:
        size: bytes of the whole representation.
        content_type: media type, e.g. ``text/csv``.
        etag: strong validator without its quotes.
        modified: last modification, microseconds since the epoch, UTC.
        filename: the name a browser should save it under; None: say nothing.
        digest: SHA-256 of the whole representation, if known.
        pieces: ``pieces(start, stop)`` yields pieces covering exactly ``[start, stop)``, in order.
    """

    size: int
    content_type: str
    etag: str
    modified: int
    filename: str | None
    digest: Digest | None
    pieces: Callable[[int, int], AsyncIterator[Piece]]
