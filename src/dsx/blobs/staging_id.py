"""The identity of a staging directory, stored in the directory itself.

Servers that share a staging directory, over a network file system or on one machine, find the same
identity there; servers with separate directories find different ones. So the catalog knows which of
them has the bytes of an upload.
"""

from __future__ import annotations

import contextlib
import os
import re
import uuid
from pathlib import Path

from dsx.blobs.directories import sync_directory

NAME = ".id"
"""The file with the identity. No stage can have this name."""
_ID = re.compile(r"[0-9a-f-]{36}")


def staging_id(directory: Path) -> str:
    """Return the identity of *directory*, created if it has none yet (blocking).

    Several processes may call this concurrently, even the first time: all get the same result.
    """
    path = directory / NAME
    found = _read(path)
    if found is None:
        _make(directory, path)
        found = _read(path)
    if found is None:
        raise ValueError(f"{path} does not hold the id of a staging directory; remove it")
    return found


def _read(path: Path) -> str | None:
    try:
        text = path.read_text("ascii", errors="replace").strip()
    except FileNotFoundError:
        return None
    return text if _ID.fullmatch(text) else None


def _make(directory: Path, path: Path) -> None:
    """Write an identity beside *path*, then give it that name unless another was faster."""
    made = uuid.uuid4()
    draft = directory / f"{NAME}.{made.hex}"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, f"{made}\n".encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    try:
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)  # unlike a rename, it replaces nothing
    finally:
        draft.unlink()
    sync_directory(directory)
