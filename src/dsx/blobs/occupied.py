"""Tracks who may still write to which bytes of a file, by kernel locks.

An open file description lock (https://man7.org/linux/man-pages/man2/F_OFD_SETLK.2const.html) lasts
as long as the file is open, and a running write keeps it open: so it covers stopped processes and
stuck writes, and ends with their process. It blocks nobody.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
from pathlib import Path

from dsx.core.ranges import ByteRange

_FORMAT = "hhqqi4x"  # struct flock: l_type, l_whence, l_start, l_len, l_pid
_GET = getattr(fcntl, "F_OFD_GETLK", 36)
_SET = getattr(fcntl, "F_OFD_SETLK", 37)
_END = 1 << 62


def occupy(descriptor: int, span: ByteRange) -> None:
    """Mark *span* until the file is closed; marks of others may overlap it.

    On file systems without such locks, nothing is marked, and `is_occupied` returns so.
    """
    with contextlib.suppress(OSError):
        fcntl.fcntl(descriptor, _SET, _lock(fcntl.F_RDLCK, span))


def is_occupied(path: Path, span: ByteRange) -> bool:
    """Return whether anybody has marked bytes of *span*, or that is unknown (blocking)."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        found = fcntl.fcntl(descriptor, _GET, _lock(fcntl.F_WRLCK, span))
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return bool(struct.unpack(_FORMAT, found)[0] != fcntl.F_UNLCK)


def _lock(kind: int, span: ByteRange) -> bytes:
    size = 0 if span.stop >= _END else span.size  # 0: to the end, however far that is
    return struct.pack(_FORMAT, kind, os.SEEK_SET, span.start, size, 0)
