"""The nouns of DSX Hub as plain values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from dsx.core.digest import Digest

Micros = int
"""An instant: microseconds since the epoch, UTC."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is asking. ``id`` owns files; ``admin`` may do everything."""

    id: str
    admin: bool = False


@dataclass(frozen=True, slots=True)
class BlobInfo:
    """A sealed blob: its name, its size in bytes and its CRC-32 (what ZIP archives need)."""

    digest: Digest
    size: int
    crc32: int


@dataclass(frozen=True, slots=True)
class FileVersion:
    """One version of a file. Its bytes never change; category, tags and metadata may.

    Attributes:
        id: public UUIDv7 of this version.
        number: small integer, never reused; accepted wherever ``id`` is.
        file: UUIDv7 shared by all versions of one file (the id of its first version).
        version: 1, 2, 3 … within the file.
        latest: whether this is the newest version.
        trashed: when the file went to the trash, or None.
        expires: when the trash drops it for good, or None.
    """

    id: str
    number: int
    file: str
    version: int
    latest: bool
    owner: str
    name: str
    category: str
    content_type: str
    size: int
    sha256: Digest
    crc32: int
    created: Micros
    metadata: dict[str, Any] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    trashed: Micros | None = None
    expires: Micros | None = None


@dataclass(frozen=True, slots=True)
class ManifestEntry:
    """One file of a dataset.

    Attributes:
        path: relative to the dataset's root, POSIX separators.
        size: bytes.
        hash: MD5 of the first 1024 bytes (a quick fingerprint, not an integrity check).
        sha256: of the whole file; None until the indexer has read it.
        etag: strong validator of the file as it was indexed, without quotes.
        mtime_ns: modification time, nanoseconds since the epoch.
    """

    path: str
    size: int
    hash: str
    sha256: Digest | None
    etag: str
    mtime_ns: int
