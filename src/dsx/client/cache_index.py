"""The index of the cache: a SQLite database beside the cached files."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import shutil
import sqlite3
import tempfile
import threading
import time
import weakref
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from dsx.client.shared_cache import make_directories, share

log = logging.getLogger(__name__)

MANIFEST = ""
"""The path under which a dataset's manifest is recorded."""

_SETUP = """
PRAGMA journal_mode=WAL;
PRAGMA synchronous=NORMAL;
CREATE TABLE IF NOT EXISTS entries (
    dataset TEXT NOT NULL, path TEXT NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
    etag TEXT NOT NULL, sha256 TEXT, checked REAL NOT NULL, PRIMARY KEY (dataset, path)
) WITHOUT ROWID;
"""
_BUSY_SECONDS = 60
_BESIDES = ("-wal", "-shm")
_COLUMNS = "size, mtime_ns, etag, sha256, checked"


@dataclass(frozen=True, slots=True)
class Record:
    """The record of a cached file; *checked* is when the server last confirmed it."""

    size: int
    mtime_ns: int
    etag: str
    sha256: str | None
    checked: float


class Index:
    """Records by dataset and path, safe for concurrent threads and processes.

    A record may be lost in a crash of the machine (its file is then fetched again), but is never
    wrong: it is written after the file is durable. Users with read access only can read it.
    """

    def __init__(self, path: Path) -> None:
        """Use the database at *path*, which is created when it is first needed."""
        self._path = path
        self._set_up()

    def _set_up(self) -> None:
        self._opened: list[sqlite3.Connection] = []  # one or none
        self._transient = False  # whether it is reopened for each use
        _ALL.add(self)
        weakref.finalize(self, _close, self._opened)

    def __getstate__(self) -> Path:
        return self._path

    def __setstate__(self, path: Path) -> None:
        self._path = path
        self._set_up()

    def get(self, dataset: str, path: str) -> Record | None:
        """Return the record of one file, or None."""
        with self._transaction() as database:
            row = database.execute(
                f"SELECT {_COLUMNS} FROM entries WHERE dataset=? AND path=?",  # noqa: S608 (constant)
                (dataset, path),
            ).fetchone()
        return Record(*row) if row else None

    def all(self, dataset: str) -> dict[str, Record]:
        """Return the records of all files of a dataset, by path."""
        with self._transaction() as database:
            rows = database.execute(
                f"SELECT path, {_COLUMNS} FROM entries WHERE dataset=?",  # noqa: S608 (constant)
                (dataset,),
            )
            return {path: Record(*rest) for path, *rest in rows}

    def names(self, dataset: str | None) -> list[tuple[str, str]]:
        """Return dataset and path of every record of *dataset* (None: all datasets)."""
        with self._transaction() as database:
            return database.execute(
                "SELECT dataset, path FROM entries WHERE ?1 IS NULL OR dataset=?1", (dataset,)
            ).fetchall()

    def put(self, dataset: str, records: Mapping[str, Record]) -> None:
        """Set records by path."""
        rows = (
            (dataset, path, known.size, known.mtime_ns, known.etag, known.sha256, known.checked)
            for path, known in records.items()
        )
        with self._transaction() as database:
            database.executemany("REPLACE INTO entries VALUES (?,?,?,?,?,?,?)", rows)

    def touch(self, dataset: str, paths: Iterable[str], now: float) -> None:
        """Record when the server confirmed these files; ignored if the database is read-only."""
        try:
            with self._transaction() as database:
                database.executemany(
                    "UPDATE entries SET checked=? WHERE dataset=? AND path=?",
                    ((now, dataset, path) for path in paths),
                )
        except sqlite3.OperationalError as error:
            if not _is_read_only(error):
                raise

    def forget(self, dataset: str, paths: Iterable[str]) -> None:
        """Delete records."""
        with self._transaction() as database:
            database.executemany(
                "DELETE FROM entries WHERE dataset=? AND path=?",
                ((dataset, path) for path in paths),
            )

    def close(self) -> None:
        """Close the database; further use reopens it."""
        _close(self._opened)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with _LOCK:
            if not self._opened:
                self._opened.append(self._open())
            try:
                with self._opened[0] as database:
                    yield database
            finally:
                if self._transient:
                    _close(self._opened)

    def _open(self) -> sqlite3.Connection:
        try:
            _make(self._path)
            database = _connect(self._path)
        except OSError:
            if not self._path.exists():
                raise
            return self._open_to_read()
        except sqlite3.OperationalError as error:
            if not (_is_read_only(error) and self._path.exists()):
                raise
            return self._open_to_read()
        except sqlite3.DatabaseError:
            log.warning("%s is damaged; its files will be fetched again", self._path)
            for suffix in ("", *_BESIDES):
                self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
            _make(self._path)
            database = _connect(self._path)
        self._transient = False
        return database

    def _open_to_read(self) -> sqlite3.Connection:
        """Open the database without write access, even to SQLite's own files beside it."""
        self._transient = False
        try:
            return _connect_to_read(f"{self._path.absolute().as_uri()}?mode=ro")
        except sqlite3.OperationalError:
            self._transient = True  # later writes by others would not be visible
        log_file = self._path.with_name(f"{self._path.name}-wal")
        if not (log_file.exists() and log_file.stat().st_size):
            return _connect_to_read(f"{self._path.absolute().as_uri()}?immutable=1")
        with tempfile.TemporaryDirectory() as directory:
            copy = Path(directory, self._path.name)
            shutil.copyfile(self._path, copy)
            shutil.copyfile(log_file, f"{copy}-wal")
            database = sqlite3.connect(":memory:", check_same_thread=False)
            with contextlib.closing(sqlite3.connect(copy)) as copied:
                copied.backup(database)
            return database


def _make(path: Path) -> None:
    """Create a missing database file; SQLite's files beside it inherit its mode."""
    make_directories(path.parent, path.parent)
    with contextlib.suppress(FileExistsError):  # and never open it: that would drop SQLite's locks
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666))
    share(path, path.parent)


def _connect_to_read(uri: str) -> sqlite3.Connection:
    database = sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS, check_same_thread=False)
    try:
        database.execute("SELECT 1 FROM entries LIMIT 1").fetchone()
    except sqlite3.Error:
        database.close()
        raise
    return database


def _is_read_only(error: sqlite3.OperationalError) -> bool:
    """Whether *error* means that a file or directory is not writable."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM}


def _connect(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=_BUSY_SECONDS, check_same_thread=False)
    give_up = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            database.executescript(_SETUP)
        except sqlite3.Error as error:
            # The first processes switch to WAL concurrently, and SQLite does not wait for that.
            if error.sqlite_errorcode == sqlite3.SQLITE_BUSY and time.monotonic() < give_up:
                time.sleep(random.uniform(0.001, 0.02))  # noqa: S311 (not a secret)
                continue
            database.close()
            raise
        return database


def _close(opened: list[sqlite3.Connection]) -> None:
    with _LOCK:
        while opened:
            opened.pop().close()


# A SQLite connection must not cross a fork, neither open nor during a call, even one by the garbage
# collector: all calls hold this lock, and a fork waits for it.
_LOCK = threading.RLock()
_ALL: weakref.WeakSet[Index] = weakref.WeakSet()


def _before_fork() -> None:
    _LOCK.acquire()
    for index in list(_ALL):
        index.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_LOCK.release, after_in_child=_LOCK.release
    )
