"""Drafts: files being downloaded into the cache. Those of dead processes are resumed or removed.

The creator of a draft holds its lock until it is moved to its final path. A draft that can be
resumed is named by hashes of its dataset, path and validator, and is kept when the process ends;
all other drafts are removed once they are unlocked.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
import uuid
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from dsx.client.locks import lock_file
from dsx.client.partial_download import PartialDownload, goes_on
from dsx.client.progress import Stopped
from dsx.client.shared_cache import make_directories, share
from dsx.client.system import open_file

FOLDER = ".dsx-drafts"
_KEPT = ".part"
_KEY = 16  # of a SHA-256
_TRIES = 3
_FORGOTTEN = 7 * 24 * 3600
_UNLOCKABLE = 24 * 3600


class KeptDraft(PartialDownload):
    """A draft in the cache that another process can continue with the same content."""

    def __init__(self, path: Path, descriptor: int, etag: str, total: int) -> None:
        """Use the file for content of *total* bytes with the strong validator *etag*."""
        super().__init__(descriptor, total, etag)
        self.path = path
        self.descriptor = descriptor


class Drafts:
    """The drafts of a cache directory, for all threads and processes that use it."""

    def __init__(self, root: Path) -> None:
        """Use the cache at *root*; nothing is created until it is needed."""
        self._root = root
        self._directory = root / FOLDER
        self._swept = False

    @contextlib.contextmanager
    def fresh(self) -> Iterator[tuple[Path, int]]:
        """Create an empty file with a descriptor; removed at the end unless it was moved."""
        path, descriptor = self._new()
        try:
            yield path, descriptor
        finally:
            path.unlink(missing_ok=True)  # before the lock is released
            os.close(descriptor)

    @contextlib.contextmanager
    def batch(self) -> Iterator[Callable[[], Path]]:
        """Yield a function that returns a new draft path on each call, for this block."""
        with self.fresh() as (path, _):
            made = 0

            def name() -> Path:
                nonlocal made
                made += 1
                return path.with_name(f"{path.name}.{made}")

            yield name

    @contextlib.contextmanager
    def kept(self, dataset: str, path: str, etag: str, total: int) -> Iterator[KeptDraft]:
        """Yield the draft of a file's content with this strong validator, or a new one.

        It is kept if the download can be resumed, see `dsx.client.partial_download`. If another
        process or thread has it, a new draft is used, which is not kept.
        """
        place = self._directory / f"{_key(dataset, path)}-{_hash(etag)}{_KEPT}"
        self._make_directory()
        descriptor = None
        with contextlib.suppress(PermissionError):  # another user's
            descriptor = lock_file(place, 0o666)
        if descriptor is None:
            with self.fresh() as (own, opened):
                yield KeptDraft(own, opened, etag, total)
            return
        share(place, self._root)
        stays = False
        try:
            yield KeptDraft(place, descriptor, etag, total)
            self._drop(self._of(_key(dataset, path)), keep={place.name})
        except BaseException as error:
            stays = goes_on(error) or isinstance(error, Stopped)
            raise
        finally:
            if not stays or not os.fstat(descriptor).st_size:
                place.unlink(missing_ok=True)
            os.close(descriptor)

    def waiting(self, dataset: str, path: str) -> bool:
        """Whether a kept draft of a file exists, for any of its contents."""
        return bool(self._of(_key(dataset, path)))

    def drop(self, dataset: str, wanted: Callable[[], Collection[tuple[str, str]]]) -> None:
        """Remove the drafts of *dataset*, except those of *wanted* paths with these validators."""
        found = self._of(_hash(dataset))
        if found:
            keep = {f"{_key(dataset, path)}-{_hash(etag)}{_KEPT}" for path, etag in wanted()}
            self._drop(found, keep)

    def clear(self, dataset: str | None = None) -> None:
        """Remove the unlocked drafts of *dataset* (None: all datasets), and stale ones."""
        self._drop(self._of("" if dataset is None else _hash(dataset)), keep=set())
        self._sweep()

    def _new(self) -> tuple[Path, int]:
        self._make_directory()
        for _ in range(_TRIES):  # another process may be sweeping
            path = self._directory / uuid.uuid4().hex
            if (descriptor := lock_file(path, 0o666)) is not None:
                return path, descriptor
            path.unlink(missing_ok=True)
        path = self._directory / uuid.uuid4().hex  # no locks here
        return path, open_file(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)

    def _make_directory(self) -> None:
        make_directories(self._directory, self._root)
        if not self._swept:
            self._swept = True
            self._sweep()

    def _of(self, prefix: str) -> list[Path]:
        """Return the kept drafts whose names begin with *prefix*."""
        with contextlib.suppress(OSError), os.scandir(self._directory) as entries:
            return [
                Path(entry)
                for entry in entries
                if entry.name.startswith(prefix) and entry.name.endswith(_KEPT)
            ]
        return []

    def _drop(self, found: list[Path], keep: Collection[str]) -> None:
        for path in found:
            if path.name not in keep:
                _remove_unlocked(path, path)

    def _sweep(self) -> None:
        """Remove drafts left behind by killed processes."""
        now = time.time()
        with contextlib.suppress(OSError):
            for path in self._directory.iterdir():
                with contextlib.suppress(OSError):
                    age = now - path.stat().st_mtime
                    if path.suffix == _KEPT:
                        if age > _FORGOTTEN:
                            _remove_unlocked(path, path)
                    elif age > _UNLOCKABLE:
                        path.unlink()
                    else:
                        _remove_unlocked(path, path.with_name(path.name.partition(".")[0]))


def _remove_unlocked(path: Path, lock: Path) -> None:
    """Remove *path* and the file *lock*, unless the latter is locked."""
    with contextlib.suppress(OSError):
        descriptor = lock_file(lock, 0o666)
        if descriptor is not None:
            path.unlink(missing_ok=True)
            lock.unlink(missing_ok=True)
            os.close(descriptor)


def _key(dataset: str, path: str) -> str:
    return f"{_hash(dataset)}-{_hash(path)}"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_KEY]
