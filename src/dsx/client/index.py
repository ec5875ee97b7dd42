"""What the cache knows of its files: one SQLite database beside them."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import sqlite3
import threading
import time
import weakref
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

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
_COLUMNS = "size, mtime_ns, etag, sha256, checked"


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of a cached file; *checked* is when the server last confirmed it."""

    size: int
    mtime_ns: int
    etag: str
    sha256: str | None
    checked: float


class Index:
    """Records by dataset and path. For all threads of a process, and for several processes.

    A record may be lost in a crash of the machine (its file is then fetched again), never wrong:
    it is written after the file is durable.
    """

    def __init__(self, path: Path) -> None:
        """Use the database at *path*, which is made when it is first needed."""
        self._path = path
        self._set_up()

    def _set_up(self) -> None:
        self._opened: list[sqlite3.Connection] = []  # one or none
        _ALL.add(self)
        weakref.finalize(self, _close, self._opened)

    def __getstate__(self) -> Path:
        return self._path

    def __setstate__(self, path: Path) -> None:
        self._path = path
        self._set_up()

    def get(self, dataset: str, path: str) -> Record | None:
        """The record of one file."""
        with self._transaction() as database:
            row = database.execute(
                f"SELECT {_COLUMNS} FROM entries WHERE dataset=? AND path=?",  # noqa: S608 (constant)
                (dataset, path),
            ).fetchone()
        return Record(*row) if row else None

    def all(self, dataset: str) -> dict[str, Record]:
        """The records of all files of a dataset."""
        with self._transaction() as database:
            rows = database.execute(
                f"SELECT path, {_COLUMNS} FROM entries WHERE dataset=?",  # noqa: S608 (constant)
                (dataset,),
            )
            return {path: Record(*rest) for path, *rest in rows}

    def names(self, dataset: str | None) -> list[tuple[str, str]]:
        """Dataset and path of every record of *dataset* (None: of all)."""
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
        """Set when the server confirmed these files."""
        with self._transaction() as database:
            database.executemany(
                "UPDATE entries SET checked=? WHERE dataset=? AND path=?",
                ((now, dataset, path) for path in paths),
            )

    def forget(self, dataset: str, paths: Iterable[str]) -> None:
        """Drop records."""
        with self._transaction() as database:
            database.executemany(
                "DELETE FROM entries WHERE dataset=? AND path=?",
                ((dataset, path) for path in paths),
            )

    def close(self) -> None:
        """Close the database; the next use opens it again."""
        _close(self._opened)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with _LOCK:
            if not self._opened:
                self._opened.append(self._open())
            with self._opened[0] as database:
                yield database

    def _open(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        try:
            return _connect(self._path)
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError:
            log.warning("%s is damaged; its files will be fetched again", self._path)
            for suffix in ("", "-wal", "-shm"):
                self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
            return _connect(self._path)


def _connect(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=_BUSY_SECONDS, check_same_thread=False)
    give_up = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            database.executescript(_SETUP)
        except sqlite3.Error as error:
            # The first to come switch to WAL at the same time, and SQLite does not wait for that.
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


# SQLite must not be carried across a fork, neither open nor in the middle of a call, even one that
# the garbage collector makes: all calls are made under this lock, and a fork waits for it.
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
