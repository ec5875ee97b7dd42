"""Brings the files of a dataset into the cache: what is missing, and as few requests as will do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import urllib3

from dsx.client.cache import Cache, Draft
from dsx.client.errors import Broken
from dsx.client.http import Connection, segments
from dsx.client.pack import CutShort, Packed, members
from dsx.client.progress import Meter, Progress
from dsx.client.transfer import fetch_file
from dsx.core.errors import Unprocessable

SMALL = 1024 * 1024
PACK_FILES = 1000
PACK_BYTES = 64 * 1024 * 1024
PACKS = 2  # at once: reading a pack is Python's work, and more would only take turns


class Mirror:
    """One dataset on its way into one cache."""

    def __init__(
        self, connection: Connection, cache: Cache, dataset: str, progress: Progress | None
    ) -> None:
        self._connection = connection
        self._cache = cache
        self._dataset = dataset
        self._progress = progress

    def update(self, places: Mapping[str, Path], manifest: Mapping[str, dict[str, Any]]) -> None:
        """Fetch those of *places* (path → local file) that the cache lacks or has outdated."""
        missing = self._missing(places, manifest)
        sizes = {
            path: int(manifest[path]["size"]) if path in manifest else SMALL for path in missing
        }
        meter = Meter(self._progress, sum(sizes.values()), self._dataset)
        small = [path for path in missing if sizes[path] < SMALL]
        with (
            ThreadPoolExecutor(PACKS) as packs,
            ThreadPoolExecutor(self._connection.pool) as singles,
        ):
            tasks: list[Future[None]] = [
                packs.submit(self._fetch_pack, group, meter) for group in _groups(small, sizes)
            ]
            large = [path for path in missing if sizes[path] >= SMALL]
            tasks += [singles.submit(self._fetch_one, path, manifest, meter) for path in large]
            try:
                for task in tasks:
                    task.result()
            except BaseException:
                packs.shutdown(wait=False, cancel_futures=True)
                singles.shutdown(wait=False, cancel_futures=True)
                raise

    def _missing(
        self, places: Mapping[str, Path], manifest: Mapping[str, dict[str, Any]]
    ) -> list[str]:
        """Paths without a cached file that is what the manifest says."""
        known = self._cache.current(self._dataset)
        fresh, missing = [], []
        for path, place in places.items():
            record, entry = known.get(path), manifest.get(path)
            if record is not None and entry is not None and record.etag == entry["etag"]:
                try:
                    status = place.lstat()
                except OSError:
                    status = None
                if status and (status.st_size, status.st_mtime_ns) == (
                    record.size,
                    record.mtime_ns,
                ):
                    fresh.append(path)
                    continue
            missing.append(path)
        if fresh:
            self._cache.touch(self._dataset, fresh)
        return missing

    def _fetch_one(self, path: str, manifest: Mapping[str, dict[str, Any]], meter: Meter) -> None:
        counted = 0

        def count(done: int, _total: int | None, _name: str) -> None:
            nonlocal counted
            meter.add(done - counted)
            counted = done

        url = "/api/v1" + segments("datasets", self._dataset, "files", path)
        expected = manifest[path].get("sha256") if path in manifest else None
        with self._cache.draft() as (draft, descriptor):
            fetched = fetch_file(
                self._connection, url, descriptor, expected=expected, progress=count
            )
            self._cache.commit(self._dataset, [Draft(path, draft, fetched.etag, fetched.digest)])

    def _fetch_pack(self, paths: Sequence[str], meter: Meter) -> None:
        """Fetch many small files; after a break, those that are still missing."""
        done, breaks = 0, 0
        while done < len(paths):
            got = 0
            try:
                got = self._one_stream(paths[done:], meter)
            except Broken:
                breaks += 1
                if breaks > self._connection.retries:
                    raise
            done += got

    def _one_stream(self, paths: Sequence[str], meter: Meter) -> int:
        """Take what one answer brings; how many files that was. `Broken` if it was none."""
        drafts: list[Draft] = []
        broken: Exception | None = None
        url = "/api/v1" + segments("datasets", self._dataset, "pack")
        wanted = {"paths": list(paths)}
        try:
            try:
                with self._connection.request("POST", url, json=wanted, stream=True) as response:
                    for packed, path in zip(members(response.raw), paths, strict=False):
                        if packed.path != path:
                            raise Unprocessable(
                                f"The pack has {packed.path!r} instead of {path!r}."
                            )
                        drafts.append(self._write(packed))
                        meter.add(len(packed.data))
            except (CutShort, urllib3.exceptions.HTTPError, ConnectionError) as error:
                broken = error
            if not drafts:
                raise Broken(f"The connection broke in a pack: {broken}") from broken
            self._cache.commit(self._dataset, drafts)
        finally:
            for draft in drafts:
                draft.file.unlink(missing_ok=True)
        return len(drafts)

    def _write(self, packed: Packed) -> Draft:
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
