"""A catalog with files in it, without any bytes: what tests of the catalog alone need."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from dsx.catalog import blobs, files
from dsx.core.digest import digest_of
from dsx.core.model import BlobInfo, FileVersion, Micros, NewFile

OWNER = "admin"


def add(
    connection: Connection,
    name: str,
    *,
    owner: str = OWNER,
    category: str = "default",
    tags: tuple[str, ...] = (),
    size: int = 1,
    now: Micros = 1,
    metadata: dict[str, Any] | None = None,
) -> FileVersion:
    """Record a version of *name*; its blob's digest is made up from *size*."""
    files.lock_owner(connection, owner)
    blob = BlobInfo(digest_of(str(size).encode()), size, 0)
    blobs.add(connection, blob, now)
    new = NewFile(owner, name, category, "text/plain", metadata or {}, tags)
    return files.add(connection, new, blob, now)
