"""Verifies cached files by reading them and comparing their SHA-256."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Container, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from dsx.client.cache import Cache
from dsx.client.cache_index import MANIFEST, Record
from dsx.client.errors import Invalid
from dsx.client.progress import Meter, Progress, in_threads
from dsx.client.system import open_file
from dsx.core.disk import meaning

_PIECE = 1024 * 1024
_READERS = 4
WRONG = ""
"""Result in place of a SHA-256 for a file that cannot be read or is not regular."""


@dataclass(frozen=True, slots=True)
class Verified:
    """The result of verifying cached files.

    Attributes:
        files: number of files read.
        wrong: damaged files, as DATASET/PATH, which were deleted.
        lost: damaged files that could not be fetched again.
    """

    files: int
    wrong: list[str]
    lost: list[str]


def drop_wrong(
    cache: Cache,
    dataset: str,
    manifest: Mapping[str, Mapping[str, Any]],
    only: Container[str] | None = None,
    progress: Progress | None = None,
) -> tuple[int, list[str]]:
    """Read the cached files of *dataset* (only those in *only*), and delete damaged ones.

    Returns the number of files and the paths of the damaged ones. The expected SHA-256 is the
    manifest's if it is for the same version of the file, else that of the bytes received.
    """
    records = {
        path: record
        for path, record in cache.records(dataset).items()
        if path != MANIFEST and (only is None or path in only)
    }
    meter = Meter(progress, sum(record.size for record in records.values()), dataset)
    jobs = [partial(_check, cache, dataset, path, records[path], meter) for path in records]
    files, wrong = 0, []
    workers = min(_READERS, os.cpu_count() or 1)
    for path, found in zip(records, in_threads(jobs, workers, meter), strict=True):
        files += found is not None
        if found not in {None, _expected(records[path], manifest.get(path, {}))}:
            cache.reject(dataset, path)
            wrong.append(path)
    return files, wrong


def drop_wrong_manifest(cache: Cache, dataset: str) -> bool:
    """Delete the cached manifest of *dataset* if it is damaged; return whether it was."""
    record = cache.records(dataset).get(MANIFEST)
    if record is None:
        return False
    found = _check(cache, dataset, MANIFEST, record, Meter(None, None, dataset))
    wrong = record.sha256 is not None and found not in {None, record.sha256}
    if wrong:
        cache.reject(dataset, MANIFEST)
    return wrong


def _expected(record: Record, entry: Mapping[str, Any]) -> str | None:
    known = entry.get("sha256") if entry.get("etag") == record.etag else None
    return known or record.sha256


def _check(cache: Cache, dataset: str, path: str, record: Record, meter: Meter) -> str | None:
    """Return the current SHA-256 of a file; None if it does not exist or was just replaced."""
    try:
        place = cache.file(dataset, path)
    except Invalid:  # a link that leads out of the cache
        return None
    found = _digest(place, meter)
    return found if cache.has(dataset, path, record) else None


def _digest(place: Path, meter: Meter) -> str | None:
    try:
        if not stat.S_ISREG(os.lstat(place).st_mode):
            return WRONG
        descriptor = open_file(place, os.O_RDONLY)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return _of_a_failing_disk(error)
    hasher = hashlib.sha256()
    with open(descriptor, "rb", buffering=0) as file:  # noqa: PTH123 (a descriptor)
        try:
            while piece := file.read(_PIECE):
                hasher.update(piece)
                meter.add(len(piece))
        except OSError as error:
            return _of_a_failing_disk(error)
    return hasher.hexdigest()


def _of_a_failing_disk(error: OSError) -> str:
    """Return `WRONG` for a disk error, since a new copy may be readable; else raise *error*."""
    if meaning(error) is None:
        raise error
    return WRONG
