"""Fetches the missing files of a dataset into the cache, with as few requests as possible."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import urllib3

from dsx.client.cache import Cache, Draft
from dsx.client.errors import Broken, Unprocessable
from dsx.client.fetching import fetch_cached
from dsx.client.http import Connection
from dsx.client.names import segments
from dsx.client.pack import CutShort, Packed, members
from dsx.client.progress import Meter, Progress, in_threads
from dsx.client.transfer import PARALLEL_FROM, Remote
from dsx.core.errors import DSXError, NotFound

Manifest = Mapping[str, Mapping[str, Any]]
DATASETS = "/api/v1/datasets"
SMALL = 1024 * 1024
FINGERPRINT = 1024  # bytes of a file covered by a manifest's `hash`
PACK_FILES = 1000
PACK_BYTES = 64 * 1024 * 1024
_KEEP_SECONDS = 5.0
PACKS = 2  # concurrent packs: reading them is CPU-bound in Python, so more would not help
_BREAKS = (CutShort, urllib3.exceptions.HTTPError, ConnectionError)


@dataclass(frozen=True, slots=True)
class Fetch:
    """The result of fetching a dataset.

    Attributes:
        paths: local paths, in the requested order.
        gone: files in the manifest that the server no longer has.
        removed: cached files deleted because they are no longer in the dataset.
        wrong: cached files that were damaged, if verification was requested.
    """

    paths: list[Path]
    gone: list[str]
    removed: list[str]
    wrong: list[str]


class _Stream:
    """The files received in one response with a pack."""

    def __init__(self, paths: Sequence[str]) -> None:
        self.left = list(paths)  # neither received nor skipped
        self.again: list[str] = []  # left out, damaged, or different from the manifest
        self.drafts: list[Draft] = []  # not in the cache yet
        self.kept = time.monotonic()  # when `drafts` was last emptied

    def passed(self, path: str) -> None:
        """Record *path* as received; the paths before it were left out."""
        if path not in self.left:
            expected = self.left[0] if self.left else None
            raise Unprocessable(f"The pack contains {path!r} instead of {expected!r}.")
        position = self.left.index(path)
        self.again += self.left[:position]
        del self.left[: position + 1]


class DatasetSync:
    """Fetches one dataset into one cache."""

    def __init__(
        self, connection: Connection, cache: Cache, dataset: str, progress: Progress | None
    ) -> None:
        self._connection = connection
        self._cache = cache
        self._dataset = dataset
        self._progress = progress
        self._gone: list[str] = []

    def update(self, places: Mapping[str, Path], manifest: Manifest) -> list[str]:
        """Fetch the files of *places* (path → local file) that are missing or outdated.

        Returns the paths in the manifest that the server no longer has.
        """
        self._manifest = manifest
        sizes = self._missing(places)
        self._cache.drop_drafts(self._dataset, partial(self._still_wanted, places, sizes))
        self._meter = Meter(self._progress, sum(sizes.values()), self._dataset)
        small = [path for path, size in sizes.items() if size < SMALL]
        again: list[str] = []
        for left in self._run(PACKS, self._fetch_pack, _groups(small, sizes)):
            again += left
        medium = [path for path, size in sizes.items() if SMALL <= size < PARALLEL_FROM]
        list(self._run(self._connection.pool, self._fetch_one, again + medium))
        for path, size in sizes.items():
            if size >= PARALLEL_FROM:  # in parallel ranges, so one file at a time
                self._fetch_one(path)
        return self._gone

    def _run(self, workers: int, job: Any, inputs: Any) -> Iterator[Any]:
        return in_threads([partial(job, given) for given in inputs], workers, self._meter)

    def _missing(self, places: Mapping[str, Path]) -> dict[str, int]:
        """Return the paths without a cached file that matches the manifest, with their sizes.

        A path that is not in the manifest is requested separately, to find out whether it exists.
        A file with a new validator but the same bytes is not missing.
        """
        known = self._cache.current(self._dataset, places)
        fresh, renewed = [], {}
        for path, record in known.items():
            entry = self._manifest.get(path)
            if entry is None:
                continue
            if record.etag == entry.get("etag"):
                fresh.append(path)
            elif _same_bytes(entry, record.size, record.sha256):
                renewed[path] = str(entry.get("etag", ""))
        self._cache.touch(self._dataset, fresh)
        if renewed:
            self._cache.renew(self._dataset, renewed, known)
        missing = places.keys() - set(fresh) - renewed.keys()
        return {
            path: int(self._manifest[path]["size"]) if path in self._manifest else SMALL
            for path in places
            if path in missing
        }

    def _still_wanted(
        self, places: Container[str], missing: Container[str]
    ) -> set[tuple[str, str]]:
        """Return the paths and validators of files whose drafts are still useful."""
        return {
            (path, f'"{entry["etag"]}"')
            for path, entry in self._manifest.items()
            if (path in missing or path not in places) and entry.get("etag")
        }

    def _fetch_one(self, path: str) -> None:
        """Fetch a file; record it as gone if the server no longer has it."""
        url = DATASETS + segments(self._dataset, "files", path)
        entry = self._manifest.get(path, {})
        etag, sha256 = entry.get("etag"), entry.get("sha256")
        remote = Remote(
            self._connection, url, path, sha256, etag=f'"{etag}"' if etag and sha256 else None
        )
        counted = 0

        def count(done: int, _total: int | None, _name: str) -> None:
            nonlocal counted
            self._meter.add(done - counted)
            counted = done

        try:
            fetch_cached(self._cache, self._dataset, path, remote, count)
        except NotFound as error:
            if not entry or "dataset" in error.details:
                raise
            self._gone.append(path)

    def _fetch_pack(self, paths: Sequence[str]) -> list[str]:
        """Fetch many small files; return those that have to be fetched one by one.

        After a break, the rest is requested.
        """
        again: list[str] = []
        breaks = 0
        while paths:
            stream = _Stream(paths)
            try:
                with self._cache.drafts() as name:
                    error = self._take(stream, name)
            except NotFound as failure:
                missing = set(failure.details.get("missing", ())) & set(paths)
                if not missing:
                    raise
                self._gone += missing
                paths = [path for path in paths if path not in missing]
                continue
            again += stream.again
            if error is None:
                return again + stream.left  # missing from the complete pack
            breaks = breaks + 1 if len(stream.left) == len(paths) else 1
            if breaks > self._connection.retries:
                raise error
            paths = stream.left
            self._connection.pause(breaks - 1, error)
        return again

    def _take(self, stream: _Stream, name: Callable[[], Path]) -> Broken | None:
        """Receive the files of one response; return the error that cut it short, or None."""
        url = DATASETS + segments(self._dataset, "pack")
        wanted = {"paths": stream.left}
        try:
            with self._connection.request("POST", url, json=wanted, stream=True) as response:
                for packed in members(response.raw):
                    self._meter.add(len(packed.data))
                    stream.passed(packed.path)
                    if packed.intact and self._expected(packed):
                        stream.drafts.append(self._write(packed, name()))
                        if time.monotonic() - stream.kept > _KEEP_SECONDS:
                            self._keep(stream)
                    else:
                        self._meter.add(-len(packed.data))
                        stream.again.append(packed.path)
        except _BREAKS as cause:
            if isinstance(cause, DSXError):
                raise
            return Broken(f"The connection broke in a pack of {self._dataset}: {cause}")
        finally:  # the files received so far are good in any case
            self._keep(stream)
        return None

    def _expected(self, packed: Packed) -> bool:
        """Whether a file matches its size and digests in the manifest."""
        entry = self._manifest[packed.path]
        if entry.get("sha256"):
            return _same_bytes(entry, len(packed.data), packed.sha256)
        head = hashlib.md5(packed.data[:FINGERPRINT], usedforsecurity=False).hexdigest()
        return len(packed.data) == int(entry["size"]) and head == entry.get("hash", head)

    def _keep(self, stream: _Stream) -> None:
        """Move the files received into the cache, so that they survive a kill."""
        drafts, stream.drafts = stream.drafts, []
        stream.kept = time.monotonic()
        try:
            self._cache.commit(self._dataset, drafts)
        except BaseException:
            for draft in drafts:
                draft.file.unlink(missing_ok=True)
            raise

    def _write(self, packed: Packed, file: Path) -> Draft:
        self._cache.write(file, packed.data)
        etag = str(self._manifest[packed.path].get("etag", ""))
        return Draft(packed.path, file, etag, packed.sha256)


def _same_bytes(entry: Mapping[str, Any], size: int, sha256: str | None) -> bool:
    known = entry.get("sha256")
    return bool(known) and known == sha256 and int(entry["size"]) == size


def _groups(paths: Sequence[str], sizes: Mapping[str, int]) -> Iterator[list[str]]:
    """Split *paths* into packs of bounded count and volume."""
    group: list[str] = []
    volume = 0
    for path in paths:
        if group and (len(group) >= PACK_FILES or volume + sizes[path] > PACK_BYTES):
            yield group
            group, volume = [], 0
        group.append(path)
        volume += sizes[path]
    if group:
        yield group
