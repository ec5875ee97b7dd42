"""A file of this machine that is being sent."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from dsx.client.errors import Conflict
from dsx.client.system import open_file, read_at

SAMPLES = 16
SAMPLE = 4096


class LocalFile:
    """A regular file, open, that is not supposed to change until it is closed.

    Attributes:
        path: where it was found.
        size: in bytes, when it was opened.
        mtime_ns: when it had last been changed then.
        identity: a text that another file, or other content of this one, hardly has.
        changed: when it, or its record on the disk, had last been changed, in seconds.
    """

    def __init__(self, path: Path) -> None:
        """Open the file at *path*."""
        self.path = path
        self._descriptor = open_file(path, os.O_RDONLY)
        status = os.fstat(self._descriptor)
        self.size, self.mtime_ns = status.st_size, status.st_mtime_ns
        times = (status.st_mtime_ns, status.st_ctime_ns)
        self.identity = f"{status.st_size} {times} {status.st_dev} {status.st_ino}"
        self.changed = max(times) / 1e9

    def read(self, size: int, offset: int) -> bytes:
        """Bytes from *offset* on, at least one; threads may do this at once.

        `Conflict` if the file ends there: it has become shorter.
        """
        data = read_at(self._descriptor, size, offset)
        if not data:
            raise Conflict(f"{self.path} became shorter while it was being uploaded.")
        return data

    def pieces(self, start: int, stop: int, portion: int) -> Iterator[bytes]:
        """The bytes ``[start, stop)``, about *portion* at a time."""
        while start < stop:
            data = self.read(min(portion, stop - start), start)
            start += len(data)
            yield data

    def samples(self) -> Iterator[bytes]:
        """Some of its content: head, tail, and places spread evenly between them."""
        last = max(0, self.size - SAMPLE)
        for place in sorted({last * number // (SAMPLES - 1) for number in range(SAMPLES)}):
            yield read_at(self._descriptor, SAMPLE, place)

    def check(self) -> None:
        """`Conflict` unless the file is still the one that was opened."""
        known = (self.size, self.mtime_ns)
        try:
            found = [os.fstat(self._descriptor), self.path.stat()]
        except FileNotFoundError:
            found = []
        if not found or any((status.st_size, status.st_mtime_ns) != known for status in found):
            raise Conflict(f"{self.path} changed while it was being uploaded; upload it again.")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._descriptor)
