"""`DatasetHubClient`: datasets and files of a hub, for scripts and training loops."""

from __future__ import annotations

import inspect
import logging
import time
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests

from dsx.client import settings
from dsx.client.accounts import AccountOperations
from dsx.client.cache import Cache
from dsx.client.cache_index import MANIFEST, Record
from dsx.client.dataset_sync import DATASETS, DatasetSync, Fetch
from dsx.client.errors import CacheUnusable, CacheWarning, Invalid, not_a_hub
from dsx.client.fetching import fetch_cached
from dsx.client.files import FileOperations
from dsx.client.http import Connection, Notify, decoded
from dsx.client.models import DatasetInfo, ServerInfo
from dsx.client.names import dataset_name, dataset_path, segments
from dsx.client.progress import Progress
from dsx.client.scrub import ScrubOperations
from dsx.client.settings import Credential
from dsx.client.tasks import TaskOperations
from dsx.client.transfer import Remote, fetch_bytes
from dsx.client.verifying import Verified, drop_wrong, drop_wrong_manifest
from dsx.core.errors import DSXError, NotFound, RateLimited, Unavailable

log = logging.getLogger(__name__)


class DatasetHubClient(FileOperations):
    """A client of one hub. Thread-safe; it can be forked and pickled.

    Attributes:
        tasks: transfers as tasks, which can be watched, paused, resumed and aborted.
        accounts: your account, users, tokens, shares and the audit log.
        scrub: the check of stored bytes.
    """

    def __init__(
        self,
        base_url: str,
        api_key: Credential | None = None,
        cache_dir: str | Path | None = "./cache",
        *,
        timeout: tuple[float, float] = (10.0, 60.0),
        retries: int = 5,
        connections: int = 8,
        revalidate: float = 0.0,
        progress: Progress | None = None,
        ca_file: str | Path | None = None,
        notify: Notify | None = None,
    ) -> None:
        """Create a client of the hub at *base_url*.

        Args:
            base_url: e.g. ``http://localhost:8000``.
            api_key: a token, the server's ``DSX_API_KEY``, or (name, password) of an account.
            cache_dir: directory of cached dataset files; None: do not write to disk.
            timeout: seconds to connect, and to wait for bytes.
            retries: how often a failed request is repeated, with growing pauses.
            connections: maximum number of concurrent transfers.
            revalidate: seconds for which `get_file`, `get_manifest` and `download_dataset` use the
                cache without asking the server whether it is current. In a loop that reads the same
                files repeatedly, 300 saves most requests.
            progress: called with (bytes done, bytes in total or None, name) as bytes arrive.
            ca_file: PEM file of CA certificates to trust; by default ``DSX_CA_FILE`` from the
                environment, or else those the system trusts.
            notify: called with a sentence while waiting for the server; by default it is logged.

        Raises `Invalid` for invalid values.
        """
        connection = Connection(
            settings.base_url(base_url),
            settings.credential(api_key),
            timeout=settings.timeouts(timeout),
            retries=settings.count("retries", retries, 0),
            pool=settings.count("connections", connections, 1),
            ca_file=settings.ca_file(ca_file),
            notify=notify,
        )
        super().__init__(connection, progress)
        self.tasks = TaskOperations(self._connection, progress)
        self.accounts = AccountOperations(self._connection)
        self.scrub = ScrubOperations(self._connection)
        self._cache = None
        if cache_dir is not None:
            self._cache = Cache(settings.directory("cache_dir", cache_dir))
        self._revalidate = settings.seconds("revalidate", revalidate)
        self._away = False  # whether the last request to the server went unanswered

    def server_info(self) -> ServerInfo:
        """The server's version and free space; `Unavailable` if it is not ready."""
        return ServerInfo.read(self._connection.json("GET", "/ready"))

    def list_datasets(self) -> list[str]:
        """Return the names of all datasets on the server."""
        items = self._connection.items("GET", DATASETS)
        return [item["name"] for item in items]

    def dataset_infos(self) -> list[DatasetInfo]:
        """Return all datasets, each with its size and the progress of the server's index."""
        items = self._connection.items("GET", DATASETS)
        return [DatasetInfo.read(item) for item in items]

    def dataset_info(self, dataset: str) -> DatasetInfo:
        """Return the size of a dataset and the progress of the server's index."""
        path = DATASETS + segments(dataset_name(dataset))
        return DatasetInfo.read(self._connection.json("GET", path))

    def get_manifest(self, dataset: str) -> list[dict[str, Any]]:
        """Return the manifest of a dataset: one dict per file.

        Each has ``path``, ``size`` and ``hash`` (MD5 of the first 1024 bytes); also ``sha256``
        (None until the server has read the file), ``etag`` and ``mtime``.

        With a cache, an unchanged manifest is not transferred again, and if the server cannot be
        reached the cached one is returned, with a `CacheWarning`.
        """
        path = DATASETS + segments(dataset_name(dataset), "manifest")
        kept = self._cache.lookup(dataset, MANIFEST) if self._cache else None
        if self._cache is None or kept is None:
            response = self._connection.request("GET", path)
        elif self._is_fresh(kept):
            return self._cache.load_manifest(dataset)
        else:
            answer = self._ask_for_change(path, kept)
            if answer is None:
                return self._cache.load_manifest(dataset)
            if answer.status_code == requests.codes.not_modified:
                self._cache.touch(dataset, [MANIFEST])
                return self._cache.load_manifest(dataset)
            response = answer
        manifest: list[dict[str, Any]] = decoded(response)
        if not isinstance(manifest, list):
            raise not_a_hub(response)
        self._away = False
        if self._cache is not None:
            etag = response.headers.get("ETag", "").strip('"')
            try:
                self._cache.save_manifest(dataset, manifest, etag)
            except CacheUnusable as error:  # matters only if a file has to be fetched
                log.info("the manifest is not cached: %s", error)
        return manifest

    def get_file(self, dataset: str, subpath: str) -> Path:
        """Fetch one file of a dataset into the cache and return its local path.

        A cached copy is used if the server confirms it, or has confirmed it in the last
        *revalidate* seconds; if the server cannot be reached, with a `CacheWarning`. Raises
        `ValueError` without a cache.
        """
        cache = self._need_cache()
        place = cache.place(dataset, subpath)
        known = cache.lookup(dataset, subpath)
        if known is not None and self._is_fresh(known):
            return place
        remote = self._remote(dataset, subpath)
        if known is not None:
            changed = self._ask_for_change(remote.path, known)
            if changed is None:
                return place
            if changed.status_code == requests.codes.not_modified:
                cache.touch(dataset, [subpath])
                return place
            remote = replace(remote, begun=changed)
        fetch_cached(cache, dataset, subpath, remote, self._progress)
        return place

    def get_file_bytes(self, dataset: str, subpath: str) -> bytes:
        """Return the content of one file from the server, without writing to disk."""
        return fetch_bytes(self._remote(dataset, subpath), self._progress)

    def download_dataset(
        self,
        dataset: str,
        file_list: Sequence[str] | None = None,
        *,
        keep_removed: bool = False,
        verify: bool = False,
    ) -> list[Path]:
        """Fetch files of a dataset (None: all) into the cache; return their local paths in order.

        Only missing files are transferred: small ones many per request, large ones in parallel
        ranges. A call after an interruption resumes, even within a large file. The cache mirrors
        the manifest: files removed from the dataset are deleted, unless *keep_removed*. Files that
        the server has lost since the manifest was made are left out, with a `CacheWarning`. With
        *verify*, cached files are also read and compared with their SHA-256. Raises `ValueError`
        without a cache.
        """
        return self.fetch_dataset(
            dataset, file_list, keep_removed=keep_removed, verify=verify
        ).paths

    def fetch_dataset(
        self,
        dataset: str,
        file_list: Sequence[str] | None = None,
        *,
        keep_removed: bool = False,
        verify: bool = False,
    ) -> Fetch:
        """Do the same as `download_dataset`, and return what happened to each file."""
        cache = self._need_cache()
        if verify:
            drop_wrong_manifest(cache, dataset_name(dataset))
        manifest = {entry["path"]: entry for entry in self.get_manifest(dataset)}
        wanted = list(manifest) if file_list is None else list(file_list)
        places = cache.places(dataset, wanted)
        removed: list[str] = []
        if not (keep_removed or self._away):  # first: a file may be in the way of a directory
            removed = cache.prune(dataset, manifest.keys() | places.keys())
        wrong: list[str] = []
        if verify:
            _, wrong = drop_wrong(cache, dataset, manifest, places, self._progress)
        gone = DatasetSync(self._connection, cache, dataset, self._progress).update(
            places, manifest
        )
        if gone:
            some = ", ".join(sorted(gone)[:3]) + (", …" if len(gone) > 3 else "")  # noqa: PLR2004
            _warn(f"{len(gone)} files of {dataset} were removed after the manifest: {some}")
        left = set(gone)
        return Fetch([places[path] for path in wanted if path not in left], gone, removed, wrong)

    def verify_cache(self, dataset: str | None = None) -> Verified:
        """Check the cached files of a dataset (None: all datasets), and fetch damaged ones again.

        Each is compared with its SHA-256 in the manifest, or else with the SHA-256 of the bytes
        received. A `CacheWarning` explains why files could not be fetched again.
        """
        if self._cache is None:
            return Verified(0, [], [])
        names = self._cache.datasets() if dataset is None else [dataset_name(dataset)]
        found = [self._verify(self._cache, name) for name in names]
        return Verified(
            sum(one.files for one in found),
            [path for one in found for path in one.wrong],
            [path for one in found for path in one.lost],
        )

    def _verify(self, cache: Cache, dataset: str) -> Verified:
        spoilt = drop_wrong_manifest(cache, dataset)
        manifest: dict[str, dict[str, Any]] = {}
        failure: DSXError | None = None
        if spoilt or cache.records(dataset):
            try:
                manifest = {entry["path"]: entry for entry in self.get_manifest(dataset)}
            except (NotFound, Unavailable, RateLimited) as error:
                failure = error
        files, wrong = drop_wrong(cache, dataset, manifest, progress=self._progress)
        places = cache.places(dataset, [path for path in wrong if path in manifest])
        try:
            gone = DatasetSync(self._connection, cache, dataset, self._progress).update(
                places, manifest
            )
        except DSXError as error:
            failure, gone = error, list(places)
        lost = [path for path in wrong if path not in places or path in gone]
        if lost:
            why = failure or "they are no longer in the dataset"
            _warn(f"{len(lost)} damaged files of {dataset} could not be fetched again: {why}")
        names = [f"{dataset}_manifest.json"] if spoilt else []
        return Verified(
            files,
            names + [f"{dataset}/{path}" for path in wrong],
            [f"{dataset}/{path}" for path in lost],
        )

    def clear_cache(self, dataset: str | None = None) -> int:
        """Delete the cached files of a dataset (None: all datasets); return the bytes freed.

        Files that did not come from the server are kept.
        """
        return self._cache.clear(dataset) if self._cache else 0

    def get_cache_size(self, dataset: str | None = None) -> int:
        """Return the bytes cached of a dataset (None: all datasets), manifests included."""
        return self._cache.size(dataset) if self._cache else 0

    def close(self) -> None:
        """Close the connections and the cache's index; further calls reopen them."""
        self._connection.close()
        self._digests.close()
        if self._cache is not None:
            self._cache.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _is_fresh(self, known: Record) -> bool:
        """Whether the server confirmed *known* within the last *revalidate* seconds."""
        return 0 <= time.time() - known.checked < self._revalidate

    def _ask_for_change(self, path: str, known: Record) -> requests.Response | None:
        """Ask the server whether *known* is current; return None if it does not answer.

        The user is then warned once, until it answers again.
        """
        try:
            answer = self._connection.ask(path, known.etag)
        except (Unavailable, RateLimited) as error:
            if not self._away:
                _warn(f"Using cached data, which may be out of date: {error}")
            self._away = True
            return None
        self._away = False
        return answer

    def _need_cache(self) -> Cache:
        if self._cache is None:
            raise Invalid("This requires a cache_dir; without one, use get_file_bytes().")
        return self._cache

    def _remote(self, dataset: str, path: str) -> Remote:
        url = DATASETS + segments(dataset_name(dataset), "files", dataset_path(path))
        return Remote(self._connection, url, f"{dataset}/{path}")


def _warn(message: str) -> None:
    """Issue a `CacheWarning` attributed to the caller of the SDK."""
    level, frame = 1, inspect.currentframe()
    while frame is not None and frame.f_globals.get("__name__", "").startswith("dsx.client"):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, CacheWarning, stacklevel=level)
