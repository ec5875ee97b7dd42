"""The body of an upload."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import IO

from dsx.client.errors import Conflict
from dsx.client.progress import Meter, Progress
from dsx.core.digest import Digest, Hasher

_CHUNK = 512 * 1024


class Body:
    """A request body that hashes and reports *source* as it is sent, from its current position.

    It is an iterable, not a file: the HTTP library would read a file in pieces of 16 KiB.
    """

    def __init__(self, source: IO[bytes], progress: Progress | None, name: str) -> None:
        """Send *source* as *name*, reporting to *progress*."""
        self._source = source
        self._name = name
        self._hasher = Hasher()
        self._start, self._size = _extent(source)
        self._meter = Meter(progress, self._size, name)
        if self._size is not None:
            self.len = self._size  # how requests learns the length; without it, it sends chunks

    @property
    def digest(self) -> Digest:
        """SHA-256 of the bytes sent so far."""
        return self._hasher.digest

    @property
    def untouched(self) -> bool:
        """Whether no byte has been read yet."""
        return self._hasher.size == 0

    def rewind(self) -> bool:
        """Go back to the start; return False if the source cannot."""
        if self._size is None:
            return self.untouched
        self._source.seek(self._start)
        self._meter.add(-self._hasher.size)
        self._hasher = Hasher()
        return True

    def __iter__(self) -> Iterator[bytes]:
        """Iterate over the bytes, up to the declared length even if the file is growing."""
        while data := self._source.read(self._portion()):
            self._hasher.update(data)
            self._meter.add(len(data))
            yield data
        if self._size is not None and self._hasher.size < self._size:
            raise Conflict(f"{self._name!r} became shorter while it was being uploaded.")

    def _portion(self) -> int:
        return _CHUNK if self._size is None else min(_CHUNK, self._size - self._hasher.size)


def _extent(source: IO[bytes]) -> tuple[int, int | None]:
    """Return the position of *source* and the bytes left; None if it is not seekable."""
    try:
        position = source.tell()
        end = source.seek(0, os.SEEK_END)
        source.seek(position)
    except (OSError, AttributeError, ValueError):
        return 0, None
    return position, end - position
