"""The local cache of dataset files.

``<cache>/<dataset>/<path>`` are the files and ``<cache>/<dataset>_manifest.json`` the manifests,
as the DSX Hub seed documents them. What we know of each file is in ``.dsx-cache.db``: a file counts
as cached only while its size and modification time are still the recorded ones, so a file that a
crash or a person truncated is fetched again. Only recorded files are counted and deleted.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import sqlite3
import sys
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dsx.core.errors import Invalid
from dsx.core.names import check_dataset_name, check_relative_path

DATABASE = ".dsx-cache.db"
DRAFTS = ".dsx-drafts"
MANIFEST = ""  # the path under which a dataset's manifest is recorded
_SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (
    dataset TEXT NOT NULL, path TEXT NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
    etag TEXT NOT NULL, sha256 TEXT, checked REAL NOT NULL, PRIMARY KEY (dataset, path)
) WITHOUT ROWID
"""


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of a cached file; *checked* is when the server last confirmed it."""

    size: int
    mtime_ns: int
    etag: str
    sha256: str | None
    checked: float


@dataclass(frozen=True, slots=True)
class Draft:
    """A downloaded file that is not in its place yet."""

    path: str
    file: Path
    etag: str
    sha256: str | None


class Cache:
    """One cache directory, which several threads and processes may use at once."""

    def __init__(self, root: Path) -> None:
        """Use *root*; nothing is made before there is something to keep."""
        self.root = root
        self._local = threading.local()

    def place(self, dataset: str, path: str) -> Path:
        """Where a file belongs. `Invalid` if *path* would leave the dataset's directory.

        The server's word is not taken for it: a path that climbs, or that goes through a symbolic
        link out of the cache, is refused.
        """
        target = self._unchecked(dataset, path)
        top = os.path.realpath(self.root)
        if not Path(os.path.realpath(target.parent)).is_relative_to(top):
            raise Invalid(f"{path!r} leads out of the cache directory.")
        return target

    def lookup(self, dataset: str, path: str) -> Record | None:
        """The record of a file that is in its place, as recorded."""
        row = (
            self._database()
            .execute(
                "SELECT size, mtime_ns, etag, sha256, checked FROM entries"
                " WHERE dataset=? AND path=?",
                (dataset, path),
            )
            .fetchone()
        )
        if row is None:
            return None
        record = Record(*row)
        with contextlib.suppress(OSError):
            status = os.lstat(self._file(dataset, path))
            if (status.st_size, status.st_mtime_ns) == (record.size, record.mtime_ns):
                return record
        return None

    def current(self, dataset: str) -> dict[str, Record]:
        """The records of all files of a dataset; the files themselves are not looked at."""
        rows = self._database().execute(
            "SELECT path, size, mtime_ns, etag, sha256, checked FROM entries WHERE dataset=?",
            (dataset,),
        )
        return {path: Record(*rest) for path, *rest in rows}

    @contextlib.contextmanager
    def draft(self) -> Iterator[tuple[Path, int]]:
        """A new empty file outside the datasets, with a descriptor; removed if still there."""
        path = self.new_draft()
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        try:
            yield path, descriptor
        finally:
            os.close(descriptor)
            path.unlink(missing_ok=True)

    def new_draft(self) -> Path:
        """A path outside the datasets for a file that does not exist yet."""
        directory = self.root / DRAFTS
        directory.mkdir(parents=True, exist_ok=True)
        return directory / uuid.uuid4().hex

    def commit(self, dataset: str, drafts: Sequence[Draft]) -> list[Path]:
        """Put drafts in their places, all durable before the first one shows."""
        make_durable([draft.file for draft in drafts])
        places, rows, now = [], [], time.time()
        prepared: set[Path] = set()
        for draft in drafts:
            place = self._unchecked(dataset, draft.path)
            if place.parent not in prepared:
                self._file(dataset, draft.path)
                place.parent.mkdir(parents=True, exist_ok=True)
                prepared.add(place.parent)
            self._move(draft.file, place)
            status = place.stat()
            places.append(place)
            rows.append(
                (
                    dataset,
                    draft.path,
                    status.st_size,
                    status.st_mtime_ns,
                    draft.etag,
                    draft.sha256,
                    now,
                )
            )
        with self._database() as database:
            database.executemany("REPLACE INTO entries VALUES (?,?,?,?,?,?,?)", rows)
        return places

    def touch(self, dataset: str, paths: Iterable[str]) -> None:
        """Note that the server has just confirmed these files."""
        now = time.time()
        with self._database() as database:
            database.executemany(
                "UPDATE entries SET checked=? WHERE dataset=? AND path=?",
                [(now, dataset, path) for path in paths],
            )

    def save_manifest(self, dataset: str, manifest: list[dict[str, Any]], etag: str) -> None:
        """Keep a manifest."""
        with self.draft() as (path, descriptor):
            with os.fdopen(os.dup(descriptor), "w") as file:
                json.dump(manifest, file)
            self.commit(dataset, [Draft(MANIFEST, path, etag, None)])

    def load_manifest(self, dataset: str) -> list[dict[str, Any]]:
        """The kept manifest, which `lookup` has found."""
        manifest: list[dict[str, Any]] = json.loads(self._file(dataset, MANIFEST).read_text())
        return manifest

    def size(self, dataset: str | None = None) -> int:
        """Bytes that recorded files of *dataset* (None: of all) take."""
        return sum(size for _, _, size in self._present(dataset))

    def clear(self, dataset: str | None = None) -> int:
        """Delete the recorded files of *dataset* (None: of all); how many bytes that freed."""
        freed = 0
        for name, path, size in self._present(dataset):
            file = self._file(name, path)
            file.unlink(missing_ok=True)
            freed += size
            _remove_empty(file.parent, self.root)
        with self._database() as database:
            database.execute(
                "DELETE FROM entries WHERE dataset IS coalesce(?, dataset)", (dataset,)
            )
        return freed

    def _present(self, dataset: str | None) -> list[tuple[str, str, int]]:
        if not (self.root / DATABASE).exists():
            return []
        rows = self._database().execute(
            "SELECT dataset, path FROM entries WHERE dataset IS coalesce(?, dataset)", (dataset,)
        )
        present = []
        for name, path in rows:
            with contextlib.suppress(OSError):
                present.append((name, path, os.lstat(self._file(name, path)).st_size))
        return present

    def _file(self, dataset: str, path: str) -> Path:
        return self.place(dataset, path) if path else self._unchecked(dataset, path)

    def _unchecked(self, dataset: str, path: str) -> Path:
        """Where a file belongs by its name alone, links aside."""
        if path == MANIFEST:
            return self.root / f"{check_dataset_name(dataset)}_manifest.json"
        return self.root / check_dataset_name(dataset) / check_relative_path(path)

    @staticmethod
    def _move(draft: Path, place: Path) -> None:
        try:
            draft.replace(place)
        except (IsADirectoryError, NotADirectoryError) as error:
            raise Invalid(f"{place} is in the way: clear the dataset's cache.") from error

    def _database(self) -> sqlite3.Connection:
        """This thread's connection; a forked process opens its own."""
        if getattr(self._local, "pid", None) != os.getpid():
            self.root.mkdir(parents=True, exist_ok=True)
            database = sqlite3.connect(self.root / DATABASE, timeout=60)
            database.execute("PRAGMA journal_mode=WAL")
            database.execute(_SCHEMA)
            self._local.database, self._local.pid = database, os.getpid()
        connection: sqlite3.Connection = self._local.database
        return connection


def make_durable(files: Sequence[Path]) -> None:
    """Return once the files' bytes survive a crash: one syncfs for many, else an fsync each."""
    if len(files) > 1 and _syncfs(files[0]):
        return
    for path in files:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _syncfs(path: Path) -> bool:
    if not sys.platform.startswith("linux"):
        return False
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return bool(ctypes.CDLL(None).syncfs(descriptor) == 0)
    except AttributeError:
        return False
    finally:
        os.close(descriptor)


def _remove_empty(directory: Path, top: Path) -> None:
    while directory != top and directory.is_relative_to(top):
        try:
            directory.rmdir()
        except OSError:
            return
        directory = directory.parent
