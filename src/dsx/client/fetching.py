"""Fetches one file of a dataset into the cache; a large one can be resumed by another process."""

from __future__ import annotations

from dataclasses import replace

import requests

from dsx.client.cache import Cache, Draft
from dsx.client.errors import Answered, DigestMismatch
from dsx.client.partial_download import PartialDownload
from dsx.client.paths import about
from dsx.client.progress import Progress
from dsx.client.transfer import Anew, Fetched, Remote, fetch_file

KEEP_FROM = 1024 * 1024
_CHANGES = 3


def fetch_cached(
    cache: Cache, dataset: str, path: str, remote: Remote, progress: Progress | None
) -> None:
    """Fetch a file whose content may change between requests.

    If the download of a large file is interrupted, or the server becomes unreachable, the bytes
    received are kept in a draft. It is resumed while the server has content with the same
    validator, and never mixed with other content.
    """
    with about(cache.place(dataset, path)):
        _fetch(cache, dataset, path, remote, progress)


def _fetch(
    cache: Cache, dataset: str, path: str, remote: Remote, progress: Progress | None
) -> None:
    answer = _first_answer(remote, going_on=cache.has_kept_draft(dataset, path))
    for _ in range(_CHANGES):
        etag, total = answer.headers.get("ETag", ""), int(answer.headers.get("Content-Length", 0))
        if not (etag.startswith('"') and total >= KEEP_FROM and _has_ranges(answer)):
            break
        with cache.kept_draft(dataset, path, etag, total) as draft:
            begun = _body(answer, of_use=not draft.size)
            try:
                source = replace(remote, begun=begun)
                fetched = _fetch_current(source, draft.descriptor, progress, draft)
            except Anew as changed:
                answer = changed.response
                continue
            cache.commit(dataset, [Draft(path, draft.path, fetched.etag, fetched.digest)])
            return
    with cache.draft() as (place, descriptor):
        source = replace(remote, begun=_body(answer, of_use=True))
        fetched = _fetch_current(source, descriptor, progress)
        cache.commit(dataset, [Draft(path, place, fetched.etag, fetched.digest)])


def _fetch_current(
    remote: Remote, descriptor: int, progress: Progress | None, kept: PartialDownload | None = None
) -> Fetched:
    """Fetch a file as `fetch_file` does, allowing for an outdated expected digest.

    If the bytes are wrong twice, the server is asked to read the file again. They are then accepted
    if they have the digest it declares now or, while it has none, if the validator has changed and
    the same bytes arrive once more.
    """
    try:
        return fetch_file(remote, descriptor, progress, kept=kept)
    except DigestMismatch as error:
        wrong = error
    received = wrong.details["received"]
    anew = replace(remote, sha256=received, etag=None, begun=None, recheck=True)
    fetched = fetch_file(anew, descriptor, progress)
    if remote.etag == f'"{fetched.etag}"' and fetched.digest != remote.sha256:
        raise wrong
    return fetched


def _first_answer(remote: Remote, *, going_on: bool) -> requests.Response:
    """Return a response with the current headers; by HEAD if the download may be resumed."""
    if remote.begun is not None:
        return remote.begun
    if going_on:
        try:
            return replace(remote, method="HEAD").ask({})
        except Answered:  # the error of the actual method says more
            pass
    return remote.ask({})


def _has_ranges(answer: requests.Response) -> bool:
    return answer.headers.get("Accept-Ranges") == "bytes"


def _body(answer: requests.Response, *, of_use: bool) -> requests.Response | None:
    """Return *answer* if its body is to be used; else close it and return None."""
    if of_use and answer.request.method != "HEAD":
        return answer
    answer.close()
    return None
