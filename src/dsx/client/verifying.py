"""Whether the files in the cache still have the bytes they had: they are read, all of them."""

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
"""What is told instead of the SHA-256 of something that cannot be read, or is no file."""


@dataclass(frozen=True, slots=True)
class Verified:
    """What became of the files of a cache that were read again.

    Attributes:
        files: how many were read.
        wrong: those that had other bytes than they should, as DATASET/PATH; they were dropped.
        lost: those of the wrong ones that could not be fetched again.
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
    """Read the cached files of *dataset* (those of *only*), and drop those with wrong bytes.

    How many there were, and the paths of the wrong ones. The manifest's SHA-256 counts, if it is of
    the same file; else that of the bytes that were received.
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
    """Drop the kept manifest of *dataset* if its bytes are wrong; whether they were."""
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
    """The SHA-256 of a file as it is; None if it is not there, or was replaced just now."""
    try:
        place = cache.file(dataset, path)
    except Invalid:  # a link that leads out: nothing there is ours
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
    """`WRONG`: another place of the disk may be better. Raises what has another cause."""
    if meaning(error) is None:
        raise error
    return WRONG
