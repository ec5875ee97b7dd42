"""`DatasetHubClient`: datasets and files of a hub, from a script or a training loop."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests

from dsx.client import settings
from dsx.client.accounts import AccountOperations
from dsx.client.cache import Cache, Draft
from dsx.client.errors import Invalid, not_a_hub
from dsx.client.files import FileOperations
from dsx.client.http import Connection, Notify, decoded
from dsx.client.index import MANIFEST, Record
from dsx.client.mirror import DATASETS, Mirror
from dsx.client.models import DatasetInfo
from dsx.client.names import dataset_name, dataset_path, segments
from dsx.client.progress import Progress
from dsx.client.scrub import ScrubOperations
from dsx.client.settings import Credential
from dsx.client.tasks import TaskOperations
from dsx.client.transfer import Remote, fetch_bytes, fetch_file
from dsx.core.errors import DSXError, RateLimited, Unavailable

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
        revalidate: float = 300.0,
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
            revalidate: seconds a cached file is returned without asking whether it is current.
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

    def list_datasets(self) -> list[str]:
        """The names of all datasets on the server."""
        items = self._connection.items("GET", DATASETS)
        return [item["name"] for item in items]

    def dataset_info(self, dataset: str) -> DatasetInfo:
        """How large a dataset is, and how far the server's index of it."""
        path = DATASETS + segments(dataset_name(dataset))
        return DatasetInfo.read(self._connection.json("GET", path))

    def get_manifest(self, dataset: str) -> list[dict[str, Any]]:
        """What is in a dataset: one dict a file.

        Each has ``path``, ``size`` and ``hash`` (MD5 of the first 1024 bytes); also ``sha256``
        (None until the server has read the file), ``etag`` and ``mtime``.

        Kept in the cache, if there is one: then an unchanged manifest is not transferred again,
        and if the server cannot be reached the kept one is returned.
        """
        path = DATASETS + segments(dataset_name(dataset), "manifest")
        kept = self._cache.lookup(dataset, MANIFEST) if self._cache else None
        if self._cache is None or kept is None:
            response = self._connection.request("GET", path)
        else:
            try:
                response = self._connection.ask(path, kept.etag)
            except (Unavailable, RateLimited) as error:
                _fall_back(f"the manifest of {dataset}", error)
                return self._cache.load_manifest(dataset)
            if response.status_code == requests.codes.not_modified:
                return self._cache.load_manifest(dataset)
        manifest: list[dict[str, Any]] = decoded(response)
        if not isinstance(manifest, list):
            raise not_a_hub(response)
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
        if known is not None and 0 <= time.time() - known.checked < self._revalidate:
            return place
        remote = self._remote(dataset, subpath)
        if known is not None:
            changed = self._ask_for_change(remote, known)
            if changed is None:
                return place
            if changed.status_code == requests.codes.not_modified:
                cache.touch(dataset, [subpath])
                return place
            remote = replace(remote, begun=changed)
        with cache.draft() as (draft, descriptor):
            fetched = fetch_file(remote, descriptor, self._progress)
            cache.commit(dataset, [Draft(subpath, draft, fetched.etag, fetched.digest)])
        return place

    def get_file_bytes(self, dataset: str, subpath: str) -> bytes:
        """The content of one file, straight from the server: nothing is written to disk."""
        return fetch_bytes(self._remote(dataset, subpath), self._progress)

    def download_dataset(self, dataset: str, file_list: Sequence[str] | None = None) -> list[Path]:
        """Files of a dataset (None: all of them), in the cache; their local paths in that order.

        Only what the cache lacks is transferred: small files many at a time, large ones in
        parallel. `ValueError` if there is no cache.
        """
        cache = self._need_cache()
        manifest = {entry["path"]: entry for entry in self.get_manifest(dataset)}
        wanted = list(manifest) if file_list is None else list(file_list)
        places = cache.places(dataset, wanted)
        Mirror(self._connection, cache, dataset, self._progress).update(places, manifest)
        return [places[path] for path in wanted]

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

    def _ask_for_change(self, remote: Remote, known: Record) -> requests.Response | None:
        """The answer of a server that was asked whether *known* is current; None: no answer."""
        try:
            return self._connection.ask(remote.path, known.etag)
        except (Unavailable, RateLimited) as error:
            _fall_back(remote.name, error)
            return None

    def _need_cache(self) -> Cache:
        if self._cache is None:
            raise Invalid("This needs a cache_dir; without one, use get_file_bytes().")
        return self._cache

    def _remote(self, dataset: str, path: str) -> Remote:
        url = DATASETS + segments(dataset_name(dataset), "files", dataset_path(path))
        return Remote(self._connection, url, f"{dataset}/{path}")


def _fall_back(what: str, error: DSXError) -> None:
    log.info("using the cached copy of %s: %s", what, error)
