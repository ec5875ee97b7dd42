"""`DatasetHubClient`: datasets and files of a hub, from a script or a training loop."""

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
    """A client of one hub. Threads may share it; it survives a fork and a pickle.

    Attributes:
        tasks: transfers as tasks, which can be watched, paused, resumed and aborted.
        accounts: who you are, users, tokens, shares, the audit log.
        scrub: the checking of stored bytes.
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
        """Talk to the hub at *base_url*.

        Args:
            base_url: e.g. ``http://localhost:8000``.
            api_key: a token, the server's ``DSX_API_KEY``, or (name, password) of an account.
            cache_dir: where downloads are kept; None: nothing is ever written.
            timeout: seconds to connect, and to wait for bytes.
            retries: how often a failed request is repeated, with growing pauses.
            connections: how many transfers go on at once.
            revalidate: seconds for which `get_file`, `get_manifest` and `download_dataset` take
                what is in the cache without asking whether it is current. In a loop that reads the
                same files again and again, 300 saves most requests.
            progress: called with (bytes done, bytes in total or None, name) as bytes arrive.
            ca_file: certificates, in PEM format, that sign the server's; by default
                ``DSX_CA_FILE`` of the environment, or else those the system trusts.
            notify: called with a sentence when the server is waited for; by default it is logged.

        Raises `Invalid` for a value that cannot be right.
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
        self._away = False  # whether the server did not answer when it was last asked

    def server_info(self) -> ServerInfo:
        """The server's version and free space; `Unavailable` if it is not ready."""
        return ServerInfo.read(self._connection.json("GET", "/ready"))

    def list_datasets(self) -> list[str]:
        """The names of all datasets on the server."""
        items = self._connection.items("GET", DATASETS)
        return [item["name"] for item in items]

    def dataset_infos(self) -> list[DatasetInfo]:
        """All datasets, each with its size and how far the server's index of it is."""
        items = self._connection.items("GET", DATASETS)
        return [DatasetInfo.read(item) for item in items]

    def dataset_info(self, dataset: str) -> DatasetInfo:
        """How large a dataset is, and how far the server's index of it."""
        path = DATASETS + segments(dataset_name(dataset))
        return DatasetInfo.read(self._connection.json("GET", path))

    def get_manifest(self, dataset: str) -> list[dict[str, Any]]:
        """What is in a dataset: one dict a file.

        Each has ``path``, ``size`` and ``hash`` (MD5 of the first 1024 bytes); also ``sha256``
        (None until the server has read the file), ``etag`` and ``mtime``.

        Kept in the cache, if there is one: then an unchanged manifest is not transferred again,
        and if the server cannot be reached the kept one is returned, with a `CacheWarning`.
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
            except CacheUnusable as error:  # which matters only if something has to be fetched
                log.info("the manifest is not kept: %s", error)
        return manifest

    def get_file(self, dataset: str, subpath: str) -> Path:
        """One file of a dataset, in the cache; its local path.

        A cached copy is returned if the server, when asked, says that it is current, or confirmed
        it no longer than *revalidate* seconds ago; with a `CacheWarning`, if the server cannot be
        reached. `ValueError` if there is no cache.
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
        """The content of one file, straight from the server: nothing is written to disk."""
        return fetch_bytes(self._remote(dataset, subpath), self._progress)

    def download_dataset(
        self,
        dataset: str,
        file_list: Sequence[str] | None = None,
        *,
        keep_removed: bool = False,
        verify: bool = False,
    ) -> list[Path]:
        """Files of a dataset (None: all of them), in the cache; their local paths in that order.

        Only what the cache lacks is transferred: small files many at a time, large ones in
        parallel. What an interrupted call has fetched, of a large file its beginning, need not come
        again. The cache mirrors the manifest: what was fetched before and is in the dataset no
        more is deleted, unless *keep_removed*. What has gone from the server since it made the
        manifest is left out, with a `CacheWarning`. With *verify*, what is in the cache is read and
        compared with its SHA-256, too. `ValueError` if there is no cache.
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
        """As `download_dataset`; what became of all files."""
        cache = self._need_cache()
        if verify:
            drop_wrong_manifest(cache, dataset_name(dataset))
        manifest = {entry["path"]: entry for entry in self.get_manifest(dataset)}
        wanted = list(manifest) if file_list is None else list(file_list)
        places = cache.places(dataset, wanted)
        removed: list[str] = []
        if not (keep_removed or self._away):  # first: a file may be where a directory has to be now
            removed = cache.prune(dataset, manifest.keys() | places.keys())
        wrong: list[str] = []
        if verify:
            _, wrong = drop_wrong(cache, dataset, manifest, places, self._progress)
        gone = DatasetSync(self._connection, cache, dataset, self._progress).update(
            places, manifest
        )
        if gone:
            some = ", ".join(sorted(gone)[:3]) + (", …" if len(gone) > 3 else "")  # noqa: PLR2004
            _warn(f"{len(gone)} files of {dataset} are gone since the manifest was made: {some}")
        left = set(gone)
        return Fetch([places[path] for path in wanted if path not in left], gone, removed, wrong)

    def verify_cache(self, dataset: str | None = None) -> Verified:
        """Read what is cached of a dataset (None: of all), and fetch again what has wrong bytes.

        They are compared with the SHA-256 of the manifest, or else of what was received. Of what
        could not be fetched again a `CacheWarning` tells why.
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
            why = failure or "the dataset has them no more"
            _warn(f"{len(lost)} wrong files of {dataset} could not be fetched again: {why}")
        names = [f"{dataset}_manifest.json"] if spoilt else []
        return Verified(
            files,
            names + [f"{dataset}/{path}" for path in wrong],
            [f"{dataset}/{path}" for path in lost],
        )

    def clear_cache(self, dataset: str | None = None) -> int:
        """Delete what was cached of a dataset (None: of all); the bytes that freed.

        Files that did not come from the server are left alone.
        """
        return self._cache.clear(dataset) if self._cache else 0

    def get_cache_size(self, dataset: str | None = None) -> int:
        """Bytes the cache of a dataset (None: of all) takes, manifests included."""
        return self._cache.size(dataset) if self._cache else 0

    def close(self) -> None:
        """Close the connections and the cache's index; another call opens them again."""
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
        """Whether the server confirmed what is *known* so lately that it is not asked again."""
        return 0 <= time.time() - known.checked < self._revalidate

    def _ask_for_change(self, path: str, known: Record) -> requests.Response | None:
        """The answer of a server that was asked whether *known* is current; None: no answer.

        Of that the user is told once, until it answers again.
        """
        try:
            answer = self._connection.ask(path, known.etag)
        except (Unavailable, RateLimited) as error:
            if not self._away:
                _warn(f"What is in the cache is used, and may be out of date: {error}")
            self._away = True
            return None
        self._away = False
        return answer

    def _need_cache(self) -> Cache:
        if self._cache is None:
            raise Invalid("This needs a cache_dir; without one, use get_file_bytes().")
        return self._cache

    def _remote(self, dataset: str, path: str) -> Remote:
        url = DATASETS + segments(dataset_name(dataset), "files", dataset_path(path))
        return Remote(self._connection, url, f"{dataset}/{path}")


def _warn(message: str) -> None:
    """Warn of *message*, as coming from where the SDK was called."""
    level, frame = 1, inspect.currentframe()
    while frame is not None and frame.f_globals.get("__name__", "").startswith("dsx.client"):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, CacheWarning, stacklevel=level)
