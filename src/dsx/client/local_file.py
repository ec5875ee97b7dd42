"""A local file that is being uploaded."""

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
    """An open regular file that must not change until it is closed.

    Attributes:
        path: path of the file.
        size: bytes, when it was opened.
        mtime_ns: modification time, when it was opened.
        identity: a text that is practically unique to this file and content.
        changed: last change of its content or inode, in seconds since the epoch.
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
        """Read at least one byte from *offset* on. Thread-safe.

        Raises `Conflict` if the file has become shorter.
        """
        data = read_at(self._descriptor, size, offset)
        if not data:
            raise Conflict(f"{self.path} became shorter while it was being uploaded.")
        return data

    def pieces(self, start: int, stop: int, portion: int) -> Iterator[bytes]:
        """Iterate over the bytes ``[start, stop)``, up to *portion* at a time."""
        while start < stop:
            data = self.read(min(portion, stop - start), start)
            start += len(data)
            yield data

    def samples(self) -> Iterator[bytes]:
        """Iterate over samples of the content: head, tail, and blocks spread evenly between."""
        last = max(0, self.size - SAMPLE)
        for place in sorted({last * number // (SAMPLES - 1) for number in range(SAMPLES)}):
            yield read_at(self._descriptor, SAMPLE, place)

    def check(self) -> None:
        """Raise `Conflict` if the file has changed or been replaced since it was opened."""
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
