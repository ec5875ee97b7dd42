"""Walks a dataset's directory and reads the fields of index entries. All of it is blocking."""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dsx.catalog.datasets import etag
from dsx.core.digest import Digest, Hasher
from dsx.core.errors import NotFound
from dsx.core.model import ManifestEntry
from dsx.core.names import is_utf8
from dsx.hub.datasets.beneath import Tree
from dsx.hub.datasets.excluded import Inode, identity

FINGERPRINT = 1024
BATCH = 1000
LINKS = 10_000
_CHUNK = 1024 * 1024
_SAMPLES = 10
_LONGEST_SAMPLE = 300
_INT64 = 2**63

UNREADABLE = "unreadable"
NOT_UTF8 = "not UTF-8"
TOO_LONG = "path too long"
LINK_OUT = "link out of the dataset"
LINK_TO_DIRECTORY = "link to a directory"
BROKEN_LINK = "broken link"
SPECIAL = "not a regular file"
PRIVATE = "the hub's own"


@dataclass(frozen=True, slots=True)
class Found:
    """A regular file: its path below the dataset's root, and its identity.

    *stamp* is a hash of inode and change time, which nobody can set: a file replaced by one of
    equal size and modification time has another.
    """

    path: str
    size: int
    mtime_ns: int
    stamp: str

    @classmethod
    def of(cls, path: str, status: os.stat_result) -> Found:
        """Create from *status*; times out of a database's range are clamped."""
        changes = f"{status.st_ctime_ns:x}.{status.st_ino:x}".encode()
        stamp = hashlib.blake2b(changes, digest_size=6).hexdigest()
        return cls(path, status.st_size, clamped(status.st_mtime_ns), stamp)

    @property
    def etag(self) -> str:
        """Validator of the file as it is."""
        return etag(self.size, self.mtime_ns, self.stamp)

    def entry(self, fingerprint: str = "") -> ManifestEntry:
        """Return the entry of the file before its bytes have been read."""
        return ManifestEntry(self.path, self.size, fingerprint, None, self.etag, self.mtime_ns)


@dataclass(slots=True)
class Survey:
    """Observations of a scan beside the files.

    Attributes:
        left_out: counts and the first few paths of skipped files, by reason.
        links: the paths of links to files, up to `LINKS` and one more.
        leads_out: whether a link to a directory elsewhere was seen.
    """

    left_out: dict[str, dict[str, Any]] = field(default_factory=dict)
    links: list[str] = field(default_factory=list)
    leads_out: bool = False

    def leave_out(self, reason: str, path: str) -> None:
        """Count *path*."""
        noted = self.left_out.setdefault(reason, {"count": 0, "paths": []})
        noted["count"] += 1
        if len(noted["paths"]) < _SAMPLES:
            readable = os.fsencode(path).decode("utf-8", "backslashreplace")
            noted["paths"].append(readable[:_LONGEST_SAMPLE])


def clamped(nanoseconds: int) -> int:
    """Clamp a time to what 64 bits hold: the years 1677 to 2262."""
    return max(-_INT64, min(nanoseconds, _INT64 - 1))


def batches(tree: Tree, survey: Survey, below: str = "") -> Iterator[list[Found]]:
    """Yield every regular file *below* a directory whose name is UTF-8, `BATCH` at a time.

    Links to files are followed within the tree; links to directories are not. `OSError` if the
    directory itself cannot be read.
    """
    walk = _walk(tree, survey, below)
    while batch := list(itertools.islice(walk, BATCH)):
        yield batch


def _walk(tree: Tree, survey: Survey, below: str) -> Iterator[Found]:
    pending = [below]
    own = tree.private.identities_of_files()
    while pending:
        directory = pending.pop()
        try:
            entries = os.scandir(tree.root / directory)
        except OSError as error:
            if directory == below:
                raise
            survey.leave_out(_reason(error), directory)
            continue
        with entries:
            for entry in entries:
                path = f"{directory}/{entry.name}" if directory else entry.name
                found = _look(tree, survey, path, entry, own)
                if isinstance(found, Found):
                    yield found
                elif found:
                    pending.append(path)


def _look(
    tree: Tree, survey: Survey, path: str, entry: os.DirEntry[str], own: frozenset[Inode]
) -> Found | bool:
    """Classify *entry*: a file, a directory to be walked (True), or neither."""
    try:
        if entry.is_symlink():
            return _followed(tree, survey, path)
        status = entry.stat(follow_symlinks=False)
    except OSError as error:
        if error.errno != errno.ENOENT:
            survey.leave_out(_reason(error), path)
        return False
    if stat.S_ISDIR(status.st_mode):
        # The entry's status is that of a directory mounted there, if any.
        if not tree.private.has_directory(status):
            return True
        survey.leave_out(PRIVATE, path)
    elif identity(status) in own:
        survey.leave_out(PRIVATE, path)
    elif not stat.S_ISREG(status.st_mode):
        survey.leave_out(SPECIAL, path)
    elif not is_utf8(path):
        survey.leave_out(NOT_UTF8, path)
    else:
        return Found.of(path, status)
    return False


def _followed(tree: Tree, survey: Survey, path: str) -> Found | bool:
    """Return the target of a link to a file, if it is in the dataset."""
    if not is_utf8(path):
        survey.leave_out(NOT_UTF8, path)
        return False
    try:
        descriptor = tree.descriptor(path)
    except ValueError:
        survey.leave_out(LINK_OUT, path)
        survey.leads_out |= (tree.root / path).is_dir()
    except FileNotFoundError:
        is_directory = (tree.root / path).is_dir()
        survey.leave_out(LINK_TO_DIRECTORY if is_directory else BROKEN_LINK, path)
    except OSError as error:
        survey.leave_out(BROKEN_LINK if error.errno == errno.ELOOP else _reason(error), path)
    else:
        try:
            status = os.fstat(descriptor)
        finally:
            os.close(descriptor)
        if len(survey.links) <= LINKS:
            survey.links.append(path)
        return Found.of(path, status)
    return False


def describe(tree: Tree, found: Iterable[Found], survey: Survey) -> list[ManifestEntry]:
    """Return entries of new or changed files, without unreadable or vanished ones."""
    entries = []
    for item in found:
        try:
            descriptor = tree.descriptor(item.path)
        except (OSError, ValueError) as error:
            if not isinstance(error, FileNotFoundError):
                survey.leave_out(_reason(error), item.path)
            continue
        try:
            head = os.pread(descriptor, FINGERPRINT, 0)
        except OSError as error:
            survey.leave_out(_reason(error), item.path)
            continue
        finally:
            os.close(descriptor)
        entries.append(item.entry(hashlib.md5(head, usedforsecurity=False).hexdigest()))
    return entries


def sort_out(tree: Tree, paths: Iterable[str]) -> tuple[list[Found], list[str], list[str]]:
    """Split *paths* into files, directories, and those that are neither any more."""
    found: list[Found] = []
    directories: list[str] = []
    gone: list[str] = []
    for path in paths:
        if not is_utf8(path):
            continue
        try:
            found.append(Found.of(path, tree.status(path)))
        except NotFound:
            (directories if tree.has_directory(path) else gone).append(path)
    return found, directories, gone


def vanished(tree: Tree, paths: Iterable[str]) -> list[str]:
    """Return those of *paths* that are no longer readable regular files of the tree."""
    return [path for path in paths if not _present(tree, path)]


def changed(tree: Tree, entries: Iterable[ManifestEntry]) -> list[str]:
    """Return the paths of *entries* whose files have changed."""
    return [entry.path for entry in entries if not _is_still(tree, entry)]


def digest_of_file(
    tree: Tree, entry: ManifestEntry, stopped: Callable[[], bool] = bool
) -> Digest | None:
    """Return the SHA-256 of the file, or None if it has changed since it was indexed.

    Also None once *stopped* returns true.
    """
    try:
        descriptor = tree.open(entry.path)
    except NotFound:
        return None
    with os.fdopen(descriptor, "rb", buffering=0):
        hasher = Hasher()
        for chunk in chunks(descriptor, entry.size):
            hasher.update(chunk)
            if stopped():
                break
        status = os.fstat(descriptor)
    unchanged = Found.of(entry.path, status).etag == entry.etag and hasher.size == entry.size
    return hasher.digest if unchanged else None


def chunks(descriptor: int, size: int) -> Iterator[bytes]:
    """Yield the first *size* bytes of a file in order; fewer if it is shorter."""
    position = 0
    while position < size and (
        chunk := os.pread(descriptor, min(_CHUNK, size - position), position)
    ):
        yield chunk
        position += len(chunk)


def directory_identity(directory: Path) -> str:
    """Return what distinguishes *directory* from another mounted there later."""
    return "{:x}-{:x}".format(*identity(directory.stat()))


def _reason(error: Exception) -> str:
    if isinstance(error, ValueError):
        return LINK_OUT
    return TOO_LONG if getattr(error, "errno", None) == errno.ENAMETOOLONG else UNREADABLE


def _present(tree: Tree, path: str) -> bool:
    try:
        os.close(tree.open(path))
    except NotFound:
        return False
    return True


def _is_still(tree: Tree, entry: ManifestEntry) -> bool:
    try:
        return Found.of(entry.path, tree.status(entry.path)).etag == entry.etag
    except NotFound:
        return False
