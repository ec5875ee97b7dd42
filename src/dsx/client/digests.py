"""Cached SHA-256 digests of local files, so that unchanged files need not be read again.

A file counts as unchanged while its size, times (mtime and ctime), device and inode are the same.
One database per user, in ``$XDG_CACHE_HOME/dsx`` or ``~/.cache/dsx``; without it, all files are
read.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import threading
import time
from pathlib import Path

from dsx.client.local_file import LocalFile
from dsx.client.upload_journal import home
from dsx.core.digest import Digest, Hasher

log = logging.getLogger(__name__)

MAX_AGE = 90 * 24 * 3600
"""Seconds after which an unused digest is deleted."""
MAX_ROWS = 2_000_000
_FRESH = 2.0  # seconds within which a change may not show in a file's times
_PENDING = 500
_LARGE = 32 * 1024 * 1024  # bytes; digests of such files are saved immediately
_CHUNK = 1024 * 1024
_SCHEMA = """
CREATE TABLE IF NOT EXISTS digests (
    path BLOB PRIMARY KEY, identity TEXT NOT NULL, sha256 TEXT NOT NULL, noted REAL NOT NULL
) WITHOUT ROWID
"""
_PUT = "INSERT OR REPLACE INTO digests VALUES (?, ?, ?, ?)"
_DROP_OLD = "DELETE FROM digests WHERE noted < ?"
_DROP_MOST = """
DELETE FROM digests WHERE noted < (SELECT noted FROM digests ORDER BY noted DESC LIMIT 1 OFFSET ?)
"""


class Digests:
    """Digests of files by path. Thread-safe."""

    def __init__(self, path: Path | None = None) -> None:
        """Use the database at *path*; None: the user's own."""
        self._path = path
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._pid = 0
        self._pending: dict[bytes, tuple[str, Digest]] = {}

    def __reduce__(self) -> tuple[type[Digests], tuple[Path | None]]:
        return Digests, (self._path,)

    def of(self, file: LocalFile) -> Digest:
        """Return the SHA-256 of *file*, cached or computed; `Conflict` if it changes meanwhile."""
        known = self._known(file)
        if known is not None:
            return known
        hasher = Hasher()
        for data in file.pieces(0, file.size, _CHUNK):
            hasher.update(data)
        file.check()
        self.note(file, hasher.digest)
        return hasher.digest

    def note(self, file: LocalFile, digest: Digest) -> None:
        """Record the digest of *file* as it was when opened."""
        if time.time() - file.changed < _FRESH:
            return
        with self._lock:
            self._pending[_key(file)] = (file.identity, digest)
            if len(self._pending) >= _PENDING or file.size >= _LARGE:
                self._save()

    def close(self) -> None:
        """Save the recorded digests; further use reopens the database."""
        with self._lock:
            if self._pending:
                self._save()
            if self._connection is not None and self._pid == os.getpid():
                self._connection.close()
            self._connection = None

    def _known(self, file: LocalFile) -> Digest | None:
        with self._lock:
            found = self._pending.get(_key(file)) or self._find(_key(file))
        return found[1] if found is not None and found[0] == file.identity else None

    def _find(self, key: bytes) -> tuple[str, Digest] | None:
        query = "SELECT identity, sha256 FROM digests WHERE path = ?"
        rows: list[tuple[str, Digest]] = []
        with _only_a_cache():
            rows += self._opened().execute(query, (key,))
        return next(iter(rows), None)

    def _save(self) -> None:
        now = time.time()
        rows = [(key, *value, now) for key, value in self._pending.items()]
        self._pending = {}
        with _only_a_cache():
            connection = self._opened()
            with connection:
                connection.executemany(_PUT, rows)
                connection.execute(_DROP_OLD, (now - MAX_AGE,))
                connection.execute(_DROP_MOST, (MAX_ROWS,))

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None or self._pid != os.getpid():
            path = self._path or _default()
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            connection = sqlite3.connect(path, timeout=2, check_same_thread=False)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute(_SCHEMA)
            self._connection, self._pid = connection, os.getpid()
        return self._connection


class _only_a_cache(contextlib.AbstractContextManager[None]):  # noqa: N801 (reads as a function)
    """Ignores database errors, whose only effect is that files are read again."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if not isinstance(error, (sqlite3.Error, OSError, RuntimeError)):
            return False
        log.debug("digests of local files are not cached: %s", error)
        return True


def _key(file: LocalFile) -> bytes:
    return os.fsencode(file.path.absolute())


def _default() -> Path:
    base = Path(os.environ.get("XDG_CACHE_HOME") or "")
    if not base.is_absolute():  # as the XDG specification has it
        base = home() / ".cache"
    return base / "dsx" / "digests.db"
