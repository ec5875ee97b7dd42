"""Records the unfinished uploads of this machine, so that another process can resume them.

One small file per upload, in ``$XDG_STATE_HOME/dsx/uploads`` or ``~/.local/state/dsx/uploads``,
contains the upload's id. Its name is a hash of everything the upload depends on: the server, the
file's path, size, time and samples of its content, and the fields to store it with. A file that
differs in any of these has another upload. A lock keeps two processes from writing to the same
upload.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import logging
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dsx.client.durable import replace_durably
from dsx.client.local_file import LocalFile
from dsx.client.locks import lock_file

log = logging.getLogger(__name__)

MAX_AGE = 7 * 24 * 3600.0
"""Seconds after which a record is pruned; the server has dropped the upload long before."""


class UploadJournal:
    """The record of one upload's id."""

    def __init__(self, path: Path | None) -> None:
        """Use the file at *path*; None: record nothing."""
        self._path = path

    def recall(self) -> str | None:
        """Return the id of the upload that an earlier process created, or None."""
        if self._path is None:
            return None
        try:
            found = json.loads(self._path.read_text("utf-8"))
            os.utime(self._path)  # it is in use, so it is not old
        except (OSError, ValueError):
            return None
        upload = found.get("upload") if isinstance(found, dict) else None
        return upload if isinstance(upload, str) else None

    def keep(self, upload: str, about: Mapping[str, Any]) -> None:
        """Record *upload* durably, with *about* as information for people."""
        if self._path is None:
            return
        text = json.dumps({"upload": upload, **about}, ensure_ascii=False, indent=1)
        try:
            # A path need not be text; the escapes for such bytes are also valid in JSON.
            replace_durably(self._path, text.encode(errors="backslashreplace"))
        except OSError as error:
            log.warning("this upload will not be resumable: %s", error)

    def forget(self) -> None:
        """Delete the record."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)


def home() -> Path:
    """Return the user's home directory; raise `NotADirectoryError` if it does not exist."""
    found = Path.home()
    if not found.is_dir():
        raise NotADirectoryError(
            errno.ENOTDIR, "HOME is not a directory; set XDG_STATE_HOME or HOME to one", str(found)
        )
    return found


def states() -> Path:
    """Return the directory of the records; raise `NotADirectoryError` if there is no home."""
    base = Path(os.environ.get("XDG_STATE_HOME") or "")
    if not base.is_absolute():  # as the XDG specification has it
        base = home() / ".local" / "state"
    return base / "dsx" / "uploads"


def key_of(server: str, file: LocalFile, facts: Mapping[str, Any]) -> str:
    """Return the key of the record for an upload of *file* to *server* with *facts*."""
    identity = [server, str(file.path.absolute()), file.size, file.mtime_ns, facts]
    hasher = hashlib.sha256(json.dumps(identity, sort_keys=True, default=str).encode())
    for sample in file.samples():
        hasher.update(sample)
    return hasher.hexdigest()


@contextlib.contextmanager
def remembered(key: str | None) -> Iterator[UploadJournal]:
    """Lock and yield the record of the upload *key*.

    If *key* is None, another process has the lock, or there is nowhere to write, the yielded
    journal records nothing.
    """
    held = None if key is None else _claim(key)
    if held is None:
        yield UploadJournal(None)
        return
    path, lock = held
    memory = UploadJournal(path)
    try:
        yield memory
    finally:
        _release(path, lock)


def _claim(key: str) -> tuple[Path, int] | None:
    try:
        directory = states()
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = lock_file(_lock_of(directory / f"{key}.json"))
    except (OSError, RuntimeError) as error:
        log.warning("uploads will not be resumable: %s", error)
        return None
    if lock is None:
        return None
    with contextlib.suppress(OSError):
        _prune(directory)
    return directory / f"{key}.json", lock


def _release(path: Path, lock: int) -> None:
    """Release the lock, and delete its file unless there is an upload to resume."""
    try:
        if not path.exists():
            _lock_of(path).unlink(missing_ok=True)
    finally:
        os.close(lock)


def _prune(directory: Path) -> None:
    """Remove old records and stray locks, unless in use."""
    oldest = time.time() - MAX_AGE
    for path in directory.iterdir():
        if path.stat().st_mtime >= oldest:
            continue
        if path.suffix not in {".json", ".lock"}:  # the draft of a record, left by a crash
            path.unlink(missing_ok=True)
            continue
        state = path.with_suffix(".json")
        lock = lock_file(_lock_of(state))
        if lock is not None:
            if not state.exists() or state.stat().st_mtime < oldest:
                state.unlink(missing_ok=True)
            _release(state, lock)


def _lock_of(state: Path) -> Path:
    return state.with_suffix(".lock")
