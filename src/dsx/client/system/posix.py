"""Implementation for Linux, macOS and other POSIX systems."""

from __future__ import annotations

import fcntl
import os
import sys
from pathlib import Path

assert sys.platform != "win32"

open_file, read_at, write_at, replace_file = os.open, os.pread, os.pwrite, os.replace


def lock(descriptor: int) -> None:
    """Lock the file; see `dsx.client.system`."""
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def sync_directory(path: Path) -> None:
    """Make names durable; see `dsx.client.system`."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
