"""Writes that survive a crash of the machine."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path

from dsx.client.paths import about
from dsx.client.system import replace_file, sync_directory


def make_durable(files: Sequence[Path]) -> None:
    """Make the files' contents durable: by one syncfs for several, else by fsync."""
    if len(files) > 1 and _syncfs(files[0]):
        return
    for path in files:
        descriptor = os.open(path, os.O_RDWR)
        try:
            with about(path):
                os.fsync(descriptor)
        finally:
            os.close(descriptor)


def replace_durably(path: Path, data: bytes) -> None:
    """Replace the content of *path* by *data*; a crash leaves the old or the new, not a mixture."""
    draft = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    with about(path, draft):
        try:
            draft.write_bytes(data)
            make_durable([draft])
            replace_file(draft, path)
        finally:
            draft.unlink(missing_ok=True)
    sync_directory(path.parent)


def _syncfs(path: Path) -> bool:
    if not sys.platform.startswith("linux"):
        return False
    try:
        syncfs = ctypes.CDLL(None, use_errno=True).syncfs
    except AttributeError:
        return False
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if syncfs(descriptor) == 0:
            return True
        error = ctypes.get_errno()
    finally:
        os.close(descriptor)
    if error == errno.ENOSYS:
        return False
    # No fallback to fsync: a second sync may succeed although data was lost.
    raise OSError(error, os.strerror(error), str(path))
