"""`DatasetHubClient`: datasets and files of a hub, from a script or a training loop."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests

from dsx.client.cache import MANIFEST, Cache, Draft, Record
from dsx.client.errors import Unreachable
from dsx.client.files import FileOperations
from dsx.client.http import Connection, segments
from dsx.client.mirror import Mirror
from dsx.client.models import DatasetInfo
from dsx.client.progress import Progress
from dsx.client.transfer import NotModified, fetch_bytes, fetch_file
from dsx.core.errors import Unavailable

API = "/api/v1"


class DatasetHubClient(FileOperations):
    """A client of one hub. Threads may share it; it survives a fork; it is a context manager."""

    def __init__(
        self,
        base_url: str,
        api_key: str | None,
        cache_dir: str | Path | None = "./cache",
        *,
        timeout: tuple[float, float] = (10.0, 60.0),
        retries: int = 5,
        connections: int = 8,
        revalidate: float = 300.0,
        progress: Progress | None = None,
    ) -> None:
        """Talk to the hub at *base_url*.

        Args:
            base_url: e.g. ``http://localhost:8000``.
            api_key: the server's ``DSX_API_KEY``.
            cache_dir: where downloads are kept; None: nothing is ever written.
            timeout: seconds to connect, and to wait for bytes.
            retries: how often a failed request is repeated, with growing pauses.
            connections: how many transfers go on at once.
            revalidate: seconds a cached file is returned without asking whether it is current.
            progress: called with (bytes done, bytes in total or None, name) as bytes arrive.
        """
        super().__init__(
            Connection(base_url, api_key, timeout=timeout, retries=retries, pool=connections),
            progress,
        )
        self._cache = Cache(Path(cache_dir)) if cache_dir is not None else None
        self._revalidate = revalidate

    def list_datasets(self) -> list[str]:
        """The names of all datasets on the server."""
        items = self._connection.json("GET", f"{API}/datasets")["items"]
        return [item["name"] for item in items]

    def dataset_info(self, dataset: str) -> DatasetInfo:
        """How large a dataset is, and how far the server's index of it."""
        return DatasetInfo.model_validate(
            self._connection.json("GET", API + segments("datasets", dataset))
        )

    def get_manifest(self, dataset: str) -> list[dict[str, Any]]:
        """What is in a dataset: one dict a file.

        Each has ``path``, ``size`` and ``hash`` (MD5 of the first 1024 bytes); also ``sha256``
        (None until the server has read the file), ``etag`` and ``mtime``.

        Kept in the cache, if there is one: then an unchanged manifest is not transferred again,
        and if the server cannot be reached the kept one is returned.
        """
        path = API + segments("datasets", dataset, "manifest")
        kept = self._cache.lookup(dataset, MANIFEST) if self._cache else None
        headers = {"If-None-Match": f'"{kept.etag}"'} if kept else {}
        try:
            response = self._connection.request("GET", path, headers=headers, retries=_tries(kept))
        except Unavailable:
            if self._cache is None or kept is None:
                raise
            return self._cache.load_manifest(dataset)
        if self._cache is not None and response.status_code == requests.codes.not_modified:
            return self._cache.load_manifest(dataset)
        manifest: list[dict[str, Any]] = response.json()
        if self._cache is not None:
            etag = response.headers.get("ETag", "").strip('"')
            self._cache.save_manifest(dataset, manifest, etag)
        return manifest

    def get_file(self, dataset: str, subpath: str) -> Path:
        """One file of a dataset, in the cache; its local path.

        A cached copy is returned at once if the server confirmed it lately, else after asking
        whether it is current; if the server cannot be reached, it is returned all the same.
        `ValueError` if there is no cache.
        """
        cache = self._need_cache()
        place = cache.place(dataset, subpath)
        known = cache.lookup(dataset, subpath)
        if known is not None and time.time() - known.checked < self._revalidate:
            return place
        try:
            with cache.draft() as (draft, descriptor):
                fetched = fetch_file(
                    self._connection,
                    _file(dataset, subpath),
                    descriptor,
                    etag=known.etag if known else None,
                    retries=_tries(known),
                    progress=self._progress,
                )
                cache.commit(dataset, [Draft(subpath, draft, fetched.etag, fetched.digest)])
        except NotModified:
            cache.touch(dataset, [subpath])
        except Unreachable:
            if known is None:
                raise
        return place

    def get_file_bytes(self, dataset: str, subpath: str) -> bytes:
        """The content of one file, straight from the server: nothing is written to disk."""
        return fetch_bytes(self._connection, _file(dataset, subpath), progress=self._progress)

    def download_dataset(self, dataset: str, file_list: Sequence[str] | None = None) -> list[Path]:
        """Files of a dataset (None: all of them), in the cache; their local paths in that order.

        Only what the cache lacks is transferred: small files many at a time, large ones in
        parallel. `ValueError` if there is no cache.
        """
        cache = self._need_cache()
        manifest = {entry["path"]: entry for entry in self.get_manifest(dataset)}
        wanted = list(manifest) if file_list is None else list(file_list)
        places = [cache.place(dataset, path) for path in dict.fromkeys(wanted)]
        by_path = dict(zip(dict.fromkeys(wanted), places, strict=True))
        Mirror(self._connection, cache, dataset, self._progress).update(by_path, manifest)
        return [by_path[path] for path in wanted]

    def clear_cache(self, dataset: str | None = None) -> int:
        """Delete what was cached of a dataset (None: of all); the bytes that freed.

        Files that did not come from the server are left alone.
        """
        return self._cache.clear(dataset) if self._cache else 0

    def get_cache_size(self, dataset: str | None = None) -> int:
        """Bytes the cache of a dataset (None: of all) takes, manifests included."""
        return self._cache.size(dataset) if self._cache else 0

    def close(self) -> None:
        """Close the connections."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _need_cache(self) -> Cache:
        if self._cache is None:
            raise ValueError("This needs a cache_dir; without one, use get_file_bytes().")
        return self._cache


def _file(dataset: str, path: str) -> str:
    return API + segments("datasets", dataset, "files", path)


def _tries(known: Record | None) -> int | None:
    """With a copy to fall back on, do not insist on a server that is not there."""
    return 0 if known else None
