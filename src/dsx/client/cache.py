"""The local cache of dataset files.

``<cache>/<dataset>/<path>`` are the files and ``<cache>/<dataset>_manifest.json`` the manifests,
as the DSX Hub seed documents them. ``.dsx-cache.db`` has a record of each file: the file counts as
cached only while its size and modification time match the record, so a file truncated by a crash or
a person is fetched again. Only recorded files are counted and deleted.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from dsx.client.cache_index import MANIFEST, Index, Record
from dsx.client.drafts import Drafts, KeptDraft
from dsx.client.durable import make_durable
from dsx.client.errors import CacheUnusable, Conflict, Invalid
from dsx.client.names import dataset_name, local_path
from dsx.client.paths import about
from dsx.client.shared_cache import make_directories, share
from dsx.client.system import replace_file
from dsx.core.errors import DSXError

DATABASE = ".dsx-cache.db"
_Made = TypeVar("_Made")


@dataclass(frozen=True, slots=True)
class Draft:
    """A downloaded file that has not been moved to its final path yet."""

    path: str
    file: Path
    etag: str
    sha256: str | None


class Cache:
    """One cache directory, safe for concurrent threads and processes of one machine."""

    def __init__(self, root: Path) -> None:
        """Use *root*; nothing is created until there is something to store."""
        self.root = root
        self._index = Index(root / DATABASE)
        self._drafts = Drafts(root)

    def place(self, dataset: str, path: str) -> Path:
        """Return the local path of a file.

        Raises `Invalid` if *path* leaves the dataset's directory or goes through a symbolic link
        out of the cache: the server's paths are not trusted.
        """
        return self.places(dataset, [path])[path]

    def places(self, dataset: str, paths: Iterable[str]) -> dict[str, Path]:
        """Return the local path of each of *paths*, as `place` does; `Invalid` if any is unsafe."""
        top = self.root / local_path(dataset_name(dataset))
        found = {path: top / local_path(path) for path in paths}
        real = _real(self.root)
        for directory in {place.parent for place in found.values()}:
            if not _real(directory).is_relative_to(real):
                raise Invalid(f"{directory} leads out of the cache directory {self.root}.")
        return found

    def lookup(self, dataset: str, path: str) -> Record | None:
        """Return the record of a file (checked by `place`) if the file matches it; else None."""
        with self._usable():
            record = self._index.get(dataset, path)
        return record if record and _as_recorded(self._file(dataset, path), record) else None

    def current(self, dataset: str, places: Mapping[str, Path]) -> dict[str, Record]:
        """Return the records of the files in *places* that match them."""
        with self._usable():
            known = self._index.all(dataset)
        return {
            path: record
            for path, place in places.items()
            if (record := known.get(path)) and _as_recorded(place, record)
        }

    def records(self, dataset: str) -> dict[str, Record]:
        """Return all records of *dataset*, manifest included, whether or not the files match."""
        if not (self.root / DATABASE).exists():
            return {}
        with self._usable():
            return self._index.all(dataset)

    def datasets(self) -> list[str]:
        """Return the names of the datasets that have records."""
        if not (self.root / DATABASE).exists():
            return []
        with self._usable():
            return sorted({dataset for dataset, _ in self._index.names(None)})

    def file(self, dataset: str, path: str) -> Path:
        """Return the path of a recorded file or the manifest; `Invalid` if outside the cache."""
        return self._file(dataset, path) if path == MANIFEST else self.place(dataset, path)

    def has(self, dataset: str, path: str, record: Record) -> bool:
        """Whether *record* is still the record of a file."""
        with self._usable():
            return self._index.get(dataset, path) == record

    def reject(self, dataset: str, path: str) -> None:
        """Delete a damaged file and its record."""
        with self._usable():
            self.file(dataset, path).unlink(missing_ok=True)
            self._index.forget(dataset, [path])

    @contextlib.contextmanager
    def draft(self) -> Iterator[tuple[Path, int]]:
        """Create an empty file outside the datasets, with a descriptor; removed if not moved."""
        with self._entered(self._drafts.fresh()) as draft:
            yield draft

    @contextlib.contextmanager
    def drafts(self) -> Iterator[Callable[[], Path]]:
        """Yield a function that returns a new draft path for `write` on each call."""
        with self._entered(self._drafts.batch()) as name:
            yield name

    @contextlib.contextmanager
    def kept_draft(self, dataset: str, path: str, etag: str, total: int) -> Iterator[KeptDraft]:
        """Yield the draft in which a download of this content resumes; see `Drafts.kept`."""
        with self._entered(self._drafts.kept(dataset, path, etag, total)) as draft:
            yield draft

    def has_kept_draft(self, dataset: str, path: str) -> bool:
        """Whether a draft of a file exists that can be resumed."""
        return self._drafts.waiting(dataset, path)

    def drop_drafts(self, dataset: str, wanted: Callable[[], Collection[tuple[str, str]]]) -> None:
        """Remove the kept drafts of *dataset* except those of *wanted* paths and validators."""
        self._drafts.drop(dataset, wanted)

    def write(self, draft: Path, data: bytes) -> None:
        """Write *data* to *draft*, a path from `drafts`."""
        with self._usable(), about(self.root, draft):
            draft.write_bytes(data)

    def commit(self, dataset: str, drafts: Sequence[Draft]) -> None:
        """Move drafts to their final paths; all are durable before the first becomes visible."""
        with self._usable():
            make_durable([draft.file for draft in drafts])
            self._prepare(dataset, [draft.path for draft in drafts if draft.path != MANIFEST])
            records, now = {}, time.time()
            for draft in drafts:
                share(draft.file, self.root)
                status = draft.file.stat()
                _move(draft.file, self._file(dataset, draft.path))
                records[draft.path] = Record(
                    status.st_size, status.st_mtime_ns, draft.etag, draft.sha256, now
                )
            self._index.put(dataset, records)

    def touch(self, dataset: str, paths: Iterable[str]) -> None:
        """Record that the server has just confirmed these files."""
        with self._usable():
            self._index.touch(dataset, paths, time.time())

    def renew(self, dataset: str, etags: Mapping[str, str], known: Mapping[str, Record]) -> None:
        """Record new validators of *known* files whose bytes have not changed."""
        now = time.time()
        with contextlib.suppress(CacheUnusable), self._usable():  # else compared again
            self._index.put(
                dataset,
                {
                    path: replace(known[path], etag=etag, checked=now)
                    for path, etag in etags.items()
                },
            )

    def prune(self, dataset: str, keep: Container[str]) -> list[str]:
        """Delete the recorded files of *dataset* that are not in *keep*; return their paths.

        Files changed since they were recorded are kept.
        """
        removed = []
        with self._usable():
            gone = {
                path: record
                for path, record in self._index.all(dataset).items()
                if path != MANIFEST and path not in keep
            }
            for path, record in gone.items():
                with contextlib.suppress(Invalid):  # a link that leads out
                    place = self.place(dataset, path)
                    if _as_recorded(place, record):
                        place.unlink(missing_ok=True)
                        removed.append(path)
                        _remove_empty(place.parent, self.root)
            if gone:
                self._index.forget(dataset, gone)
        return removed

    def save_manifest(self, dataset: str, manifest: list[dict[str, Any]], etag: str) -> None:
        """Store a manifest in the cache."""
        with self.draft() as (path, descriptor):
            with os.fdopen(os.dup(descriptor), "w", encoding="utf-8") as file:
                json.dump(manifest, file)
            with path.open("rb") as written:
                sha256 = hashlib.file_digest(written, "sha256").hexdigest()
            self.commit(dataset, [Draft(MANIFEST, path, etag, sha256)])

    def load_manifest(self, dataset: str) -> list[dict[str, Any]]:
        """Return the cached manifest, which `lookup` has found."""
        with self._usable():
            manifest: list[dict[str, Any]] = json.loads(self._file(dataset, MANIFEST).read_bytes())
        return manifest

    def size(self, dataset: str | None = None) -> int:
        """Return the total bytes of the recorded files of *dataset* (None: all datasets)."""
        return sum(size for _, _, size in self._present(dataset))

    def clear(self, dataset: str | None = None) -> int:
        """Delete the recorded files of *dataset* (None: all datasets); return the bytes freed."""
        freed = 0
        gone: dict[str, list[str]] = {}
        with self._usable():
            for name, path, size in self._present(dataset):
                file = self._file(name, path)
                file.unlink(missing_ok=True)
                freed += size
                gone.setdefault(name, []).append(path)
                _remove_empty(file.parent, self.root)
            for name, paths in gone.items():
                self._index.forget(name, paths)
            self._drafts.clear(dataset)
        return freed

    def close(self) -> None:
        """Close the index; further use reopens it."""
        self._index.close()

    def _present(self, dataset: str | None) -> list[tuple[str, str, int]]:
        if not (self.root / DATABASE).exists():
            return []
        present = []
        with self._usable():
            names = self._index.names(dataset)
        for name, path in names:
            with contextlib.suppress(OSError):  # `Invalid` is one: a link that leads out
                if path != MANIFEST:
                    self.place(name, path)
                present.append((name, path, os.lstat(self._file(name, path)).st_size))
        return present

    def _file(self, dataset: str, path: str) -> Path:
        """Return the path of a file by its name, without checking links."""
        if path == MANIFEST:
            return self.root / f"{dataset_name(dataset)}_manifest.json"
        return self.root / dataset / path

    def _prepare(self, dataset: str, paths: Sequence[str]) -> None:
        """Create the directories; `Invalid` if one leads out of the cache."""
        for directory in {place.parent for place in self.places(dataset, paths).values()}:
            try:
                make_directories(directory, self.root)
            except (FileExistsError, NotADirectoryError) as error:
                raise _in_the_way(directory) from error

    @contextlib.contextmanager
    def _entered(self, draft: AbstractContextManager[_Made]) -> Iterator[_Made]:
        """Enter *draft*; only errors of its creation become `CacheUnusable`."""
        with contextlib.ExitStack() as stack:
            with self._usable():
                made = stack.enter_context(draft)
            yield made

    @contextlib.contextmanager
    def _usable(self) -> Iterator[None]:
        """Turn errors of the cache directory into `CacheUnusable`."""
        try:
            yield
        except DSXError:
            raise
        except sqlite3.Error as error:
            failure = CacheUnusable(f"The cache {self.root} cannot be used: {error}.")
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
                failure.errno = errno.ENOSPC
            raise failure from error
        except OSError as error:
            what = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
            failure = CacheUnusable(f"The cache {self.root} cannot be used: {what}.")
            failure.errno = error.errno  # some numbers mean a full disk
            raise failure from error


def _real(directory: Path) -> Path:
    """Return *directory* with links resolved."""
    found = os.path.realpath(directory)
    if found.startswith("\\\\?\\"):  # Windows prefixes a path that appears meanwhile
        found = os.path.realpath(directory)
    return Path(found)


def _as_recorded(file: Path, record: Record) -> bool:
    try:
        status = os.lstat(file)
    except OSError:
        return False
    return (status.st_size, status.st_mtime_ns) == (record.size, record.mtime_ns)


def _move(draft: Path, place: Path) -> None:
    if place.exists() and not place.is_symlink() and not place.is_file():  # a pipe, a device
        raise _in_the_way(place)
    try:
        replace_file(draft, place)
    except OSError as error:  # its kind differs between systems
        if place.is_dir() or not place.parent.is_dir():
            raise _in_the_way(place) from error
        raise


def _in_the_way(place: Path) -> Conflict:
    return Conflict(f"Another file or directory is in the way of {place}: clear the cache.")


def _remove_empty(directory: Path, top: Path) -> None:
    while directory != top and directory.is_relative_to(top):
        try:
            directory.rmdir()
        except OSError:
            return
        directory = directory.parent
