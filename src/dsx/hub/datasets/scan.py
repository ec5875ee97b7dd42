"""Walks a dataset's directory and compares it with what is indexed. All of it is blocking."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from dsx.catalog.datasets import etag
from dsx.core.digest import Digest, Hasher
from dsx.core.errors import NotFound
from dsx.core.model import ManifestEntry
from dsx.hub.datasets.beneath import open_file

FINGERPRINT = 1024
BATCH = 1000
_CHUNK = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Found:
    """A regular file: its path below the dataset's root, size in bytes, modification time."""

    path: str
    size: int
    mtime_ns: int


def batches(root: Path) -> Iterator[list[Found]]:
    """Every regular file below *root* whose name is UTF-8, `BATCH` at a time.

    Links to files are followed where they stay below *root*; links to directories are not.
    """
    walk = _walk(root)
    while batch := list(itertools.islice(walk, BATCH)):
        yield batch


def _walk(root: Path) -> Iterator[Found]:
    pending = [""]
    while pending:
        directory = pending.pop()
        with contextlib.suppress(OSError), os.scandir(root / directory) as entries:
            for entry in entries:
                path = f"{directory}/{entry.name}" if directory else entry.name
                if entry.is_dir(follow_symlinks=False):
                    pending.append(path)
                elif _encodable(path) and (found := _regular(root, path, entry)):
                    yield found


def describe(root: Path, found: Iterable[Found]) -> list[ManifestEntry]:
    """Entries of files that are new or changed; those that vanished meanwhile are left out."""
    return [entry for item in found if (entry := _describe(root, item))]


def vanished(root: Path, paths: Iterable[str]) -> list[str]:
    """Those of *paths* that are no regular files below *root* any more."""
    return [path for path in paths if not _present(root, path)]


def digest_of_file(root: Path, entry: ManifestEntry) -> Digest | None:
    """SHA-256 of the file, or None if it is no longer the one that was indexed."""
    try:
        descriptor = open_file(root, entry.path)
    except NotFound:
        return None
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        hasher = Hasher()
        while chunk := file.read(_CHUNK):
            hasher.update(chunk)
        status = os.fstat(descriptor)
    unchanged = (status.st_size, status.st_mtime_ns) == (entry.size, entry.mtime_ns)
    return hasher.digest if unchanged and hasher.size == entry.size else None


def _regular(root: Path, path: str, entry: os.DirEntry[str]) -> Found | None:
    try:
        if entry.is_symlink():
            descriptor = open_file(root, path)
            try:
                status = os.fstat(descriptor)
            finally:
                os.close(descriptor)
        elif entry.is_file():
            status = entry.stat()
        else:
            return None
    except (OSError, NotFound):
        return None
    return Found(path, status.st_size, status.st_mtime_ns)


def _describe(root: Path, found: Found) -> ManifestEntry | None:
    try:
        descriptor = open_file(root, found.path)
    except NotFound:
        return None
    try:
        head = os.pread(descriptor, FINGERPRINT, 0)
    finally:
        os.close(descriptor)
    fingerprint = hashlib.md5(head, usedforsecurity=False).hexdigest()
    validator = etag(found.size, found.mtime_ns)
    return ManifestEntry(found.path, found.size, fingerprint, None, validator, found.mtime_ns)


def _present(root: Path, path: str) -> bool:
    try:
        os.close(open_file(root, path))
    except NotFound:
        return False
    return True


def _encodable(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
