"""Records which files an upload command has stored, so that the same command can resume."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dsx.cli.selection import Item
from dsx.client.locks import lock_file
from dsx.client.upload_journal import MAX_AGE, states


class Journal:
    """The stored files of one command, one line each, in a file per command.

    The file is deleted once all are stored: the same command then creates new versions.
    """

    def __init__(self, command: Mapping[str, Any], arguments: Sequence[str]) -> None:
        """Open the journal of *command* with *arguments* in the current directory."""
        identity = json.dumps([command, str(Path.cwd()), *arguments], sort_keys=True, default=str)
        key = hashlib.sha256(identity.encode(errors="surrogateescape")).hexdigest()
        self._descriptor: int | None = None
        self._lock = threading.Lock()
        self._done: dict[str, str] = {}
        try:
            directory = states().with_name("commands")
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            _prune(directory)
            self._path = directory / f"{key}.jsonl"
            self._descriptor = lock_file(self._path)
        except (OSError, RuntimeError):  # commands also work without it
            return
        if self._descriptor is not None:
            self._read()

    def find(self, item: Item) -> str | None:
        """Return the id of the file stored for *item*; None if not stored or changed since."""
        return self._done.get(_key(item))

    def has(self, item: Item) -> bool:
        """Whether *item* is recorded for the same command to find."""
        return self._descriptor is not None and _key(item) in self._done

    def note(self, item: Item, id_: str) -> None:
        """Record that *item* has been stored. Thread-safe."""
        if self._descriptor is None:
            return
        line = json.dumps([_key(item), id_]) + "\n"
        with self._lock, contextlib.suppress(OSError):  # the file is stored regardless
            os.write(self._descriptor, line.encode())
            self._done[_key(item)] = id_

    def close(self, *, complete: bool) -> None:
        """Close the journal; *complete*: all files are stored, so delete it."""
        if self._descriptor is None:
            return
        if complete or os.fstat(self._descriptor).st_size == 0:
            self._path.unlink(missing_ok=True)
        os.close(self._descriptor)
        self._descriptor = None

    def _read(self) -> None:
        assert self._descriptor is not None
        noted = self._path.read_bytes()
        for line in noted.splitlines():
            try:
                key, id_ = json.loads(line)
            except (ValueError, TypeError):  # cut off by a crash
                continue
            self._done[str(key)] = str(id_)
        os.lseek(self._descriptor, 0, os.SEEK_END)
        if noted and not noted.endswith(b"\n"):
            os.write(self._descriptor, b"\n")


def _key(item: Item) -> str:
    path = item.path.absolute() if item.path is not None else ""
    return json.dumps([str(path), item.name, item.size, item.mtime_ns])


def _prune(directory: Path) -> None:
    oldest = time.time() - MAX_AGE
    for path in directory.iterdir():
        if path.stat().st_mtime < oldest and (descriptor := lock_file(path)) is not None:
            path.unlink(missing_ok=True)
            os.close(descriptor)
