"""Brings the files of a dataset into the cache: what is missing, and as few requests as will do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import urllib3

from dsx.client.cache import Cache, Draft
from dsx.client.errors import Broken, Unprocessable
from dsx.client.http import Connection
from dsx.client.names import segments
from dsx.client.pack import CutShort, Packed, members
from dsx.client.progress import Meter, Progress, in_threads
from dsx.client.transfer import PARALLEL_FROM, Remote, fetch_file
from dsx.core.errors import DSXError

Manifest = Mapping[str, Mapping[str, Any]]
DATASETS = "/api/v1/datasets"
SMALL = 1024 * 1024
PACK_FILES = 1000
PACK_BYTES = 64 * 1024 * 1024
PACKS = 2  # at once: reading a pack is Python's work, and more would only take turns
_BREAKS = (CutShort, urllib3.exceptions.HTTPError, ConnectionError)


class Mirror:
    """One dataset on its way into one cache."""

    def __init__(
        self, connection: Connection, cache: Cache, dataset: str, progress: Progress | None
    ) -> None:
        self._connection = connection
        self._cache = cache
        self._dataset = dataset
        self._progress = progress

    def update(self, places: Mapping[str, Path], manifest: Manifest) -> None:
        """Fetch those of *places* (path → local file) that the cache lacks or has outdated."""
        sizes = self._missing(places, manifest)
        self._meter = Meter(self._progress, sum(sizes.values()), self._dataset)
        small = [path for path, size in sizes.items() if size < SMALL]
        again: list[str] = []
        for damaged in self._run(PACKS, self._fetch_pack, _groups(small, sizes)):
            again += damaged
        fetch = partial(self._fetch_one, manifest=manifest)
        medium = [path for path, size in sizes.items() if SMALL <= size < PARALLEL_FROM]
        list(self._run(self._connection.pool, fetch, again + medium))
        for path, size in sizes.items():
            if size >= PARALLEL_FROM:  # in parallel ranges, so one file at a time
                fetch(path)

    def _run(self, workers: int, job: Any, inputs: Any) -> Iterator[Any]:
        return in_threads([partial(job, given) for given in inputs], workers, self._meter)

    def _missing(self, places: Mapping[str, Path], manifest: Manifest) -> dict[str, int]:
        """Paths without a cached file that is what the manifest says, and their sizes.

        A path that the manifest does not know gets a request of its own, which will tell.
        """
        known = self._cache.current(self._dataset, places)
        fresh = [
            path
            for path, record in known.items()
            if path in manifest and record.etag == manifest[path].get("etag")
        ]
        self._cache.touch(self._dataset, fresh)
        missing = places.keys() - set(fresh)
        return {
            path: int(manifest[path]["size"]) if path in manifest else SMALL
            for path in places
            if path in missing
        }

    def _fetch_one(self, path: str, manifest: Manifest) -> None:
        counted = 0

        def count(done: int, _total: int | None, _name: str) -> None:
            nonlocal counted
            self._meter.add(done - counted)
            counted = done

        url = DATASETS + segments(self._dataset, "files", path)
        expected = manifest[path].get("sha256") if path in manifest else None
        with self._cache.draft() as (draft, descriptor):
            fetched = fetch_file(
                Remote(self._connection, url, path, expected), descriptor, progress=count
            )
            self._cache.commit(self._dataset, [Draft(path, draft, fetched.etag, fetched.digest)])

    def _fetch_pack(self, paths: Sequence[str]) -> list[str]:
        """Fetch many small files; those that arrived damaged, to be fetched again.

        After a break, ask for the rest.
        """
        damaged: list[str] = []
        breaks = 0
        while paths:
            got, error = self._one_stream(paths, damaged)
            paths = paths[got:]
            if error is not None:
                breaks = 1 if got else breaks + 1
                if breaks > self._connection.retries:
                    raise error
                self._connection.pause(breaks - 1, error)
        return damaged

    def _one_stream(self, paths: Sequence[str], damaged: list[str]) -> tuple[int, Broken | None]:
        """Take what one answer brings: how many files that was, and why it was not all."""
        drafts: list[Draft] = []
        got, error = 0, None
        try:
            for packed in self._members(paths):
                if packed.intact:
                    drafts.append(self._write(packed))
                else:
                    damaged.append(packed.path)
                got += 1
        except _BREAKS as cause:
            if isinstance(cause, DSXError):
                raise
            error = Broken(f"The connection broke in a pack of {self._dataset}: {cause}")
        finally:  # whatever happened, the files that have come are good
            self._keep(drafts)
        if got < len(paths) and error is None:
            error = Broken(f"A pack of {self._dataset} ended before its last file.")
        return got, error

    def _keep(self, drafts: Sequence[Draft]) -> None:
        try:
            self._cache.commit(self._dataset, drafts)
        except BaseException:
            for draft in drafts:
                draft.file.unlink(missing_ok=True)
            raise

    def _members(self, paths: Sequence[str]) -> Iterator[Packed]:
        """The files of one pack, which must be *paths* in that order."""
        url = DATASETS + segments(self._dataset, "pack")
        wanted = {"paths": list(paths)}
        expected = iter(paths)
        with self._connection.request("POST", url, json=wanted, stream=True) as response:
            for packed in members(response.raw):
                path = next(expected, None)
                if packed.path != path:
                    raise Unprocessable(f"The pack has {packed.path!r} instead of {path!r}.")
                self._meter.add(len(packed.data))
                yield packed

    def _write(self, packed: Packed) -> Draft:
        # As the hub makes the validators of datasets served in place: modification time and size.
        etag = f"{packed.mtime_ns:x}-{len(packed.data):x}"
        file = self._cache.new_draft()
        file.write_bytes(packed.data)
        return Draft(packed.path, file, etag, packed.sha256)


def _groups(paths: Sequence[str], sizes: Mapping[str, int]) -> Iterator[list[str]]:
    """Packs of bounded length."""
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
