"""The domain model of DSX Hub as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from dsx.core.digest import Digest

Micros = int
"""An instant: microseconds since the epoch, UTC."""


@dataclass(frozen=True, slots=True)
class BlobInfo:
    """A sealed blob: its digest, its size in bytes and its CRC-32 (for ZIP archives)."""

    digest: Digest
    size: int
    crc32: int


@dataclass(frozen=True, slots=True)
class Damage:
    """Stored bytes found to be wrong or missing, and when."""

    digest: Digest
    size: int
    problem: str
    found: Micros


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
        expires: when the trash permanently deletes it, or None.
        damaged: whether the stored bytes were found to be wrong, or missing.
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
    damaged: bool = False


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
        damaged: whether its bytes no longer match ``sha256``.
    """

    path: str
    size: int
    hash: str
    sha256: Digest | None
    etag: str
    mtime_ns: int
    damaged: bool = False


@dataclass(frozen=True, slots=True)
class NewFile:
    """The fields of a file that `Files.create` records."""

    owner: str
    name: str
    category: str
    content_type: str
    metadata: dict[str, Any]
    tags: tuple[str, ...]


class Described(Protocol):
    """The descriptive fields of a file, on the server or the client."""

    @property
    def category(self) -> str:
        """Category, for filtering."""

    @property
    def content_type(self) -> str:
        """Media type."""

    @property
    def metadata(self) -> dict[str, Any]:
        """JSON values by key."""

    @property
    def tags(self) -> Sequence[str]:
        """Tags, for filtering."""


@dataclass(frozen=True, slots=True)
class Given:
    """Fields that an upload sets explicitly; the others have defaults."""

    category: str | None = None
    content_type: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    tags: tuple[str, ...] = ()

    def agrees(self, version: Described) -> bool:
        """Return whether *version* already has all these values."""
        return (
            self.category in {None, version.category}
            and self.content_type in {None, version.content_type}
            and (not self.metadata or self.metadata == version.metadata)
            and (not self.tags or sorted(set(self.tags)) == sorted(version.tags))
        )


ANY = frozenset({'"*"'})
"""As expected digests of an existing file: any matches. No entity tag has this form."""


@dataclass(frozen=True, slots=True)
class FileChanges:
    """Changes to a file's record; None leaves a field unchanged.

    ``metadata`` is merged (RFC 7396).
    """

    name: str | None = None
    category: str | None = None
    tags: tuple[str, ...] | None = None
    metadata: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class FileQuery:
    """Selects files to list. Filters combine with AND.

    Attributes:
        limit: items per page.
        offset: how many to skip, unless there is a cursor and if nothing filters names.
        cursor: ``Page.next`` of the previous page.
        glob: shell pattern for the whole name: ``*``, ``?``, ``[…]``; case-sensitive.
        regex: RE2 expression found anywhere in the name.
        tags: the file has all of them.
        created_from: inclusive.
        created_to: exclusive.
        sort: ``created``, ``name`` or ``size``; with ``-`` in front, descending.
    """

    limit: int = 100
    offset: int = 0
    cursor: str | None = None
    glob: str | None = None
    regex: str | None = None
    category: str | None = None
    tags: tuple[str, ...] = ()
    created_from: Micros | None = None
    created_to: Micros | None = None
    sort: str = "-created"


@dataclass(frozen=True, slots=True)
class Page:
    """Some files, and the cursor of the next page (None: this is the last).

    A page may be short, or empty, and still have a next one: a name filter with few matches looks
    at a bounded number of files per page.
    """

    items: list[FileVersion]
    next: str | None


@dataclass(frozen=True, slots=True)
class NumberedPage:
    """One page of a listing with page numbers.

    Attributes:
        count: total number of files.
        items: newest versions, newest file first.
        earlier: ids and times of older versions, by `FileVersion.file`, newest first.
    """

    count: int
    items: list[FileVersion]
    earlier: dict[str, list[tuple[str, Micros]]]


@dataclass(frozen=True, slots=True)
class DatasetInfo:
    """A dataset and the state of its index.

    Attributes:
        files: regular files in the index.
        size: bytes of all of them.
        state: ``indexing`` (being listed), ``hashing`` (some SHA-256 pending), ``ready``, or
            ``unavailable`` (its directory cannot be read at the moment).
        done: files whose SHA-256 is known, or, while ``indexing``, files listed so far.
        total: files.
        indexed: when the last scan ended; None before the first.
        trouble: why it is unavailable.
        left_out: skipped files: by reason, ``count`` and the first ``paths``.
    """

    name: str
    files: int
    size: int
    state: str
    done: int
    total: int
    indexed: Micros | None
    trouble: str | None = None
    left_out: dict[str, dict[str, Any]] = field(default_factory=dict)
