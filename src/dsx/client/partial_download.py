"""Interrupted downloads, kept beside their target so that another process can resume them."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from dsx.client.locks import lock_file
from dsx.client.paths import about, require_directory
from dsx.client.system import open_file, read_at, write_at
from dsx.core import errors as core
from dsx.core.digest import Digest, Hasher

_sync = getattr(os, "fdatasync", os.fsync)  # macOS lacks fdatasync
_MARK = 8
_NOTE_SECONDS = 2.0
_KEY = 16  # of a SHA-256, in the name of a draft
_LONGEST = 200  # bytes of a name, so that the suffix fits in the 255 of a file system
_GOES_ON = (core.Unavailable, core.RateLimited, core.TimedOut, core.Paused)


class PartialDownload:
    """Tracks the valid beginning of a draft.

    Ranges arrive in any order. Meanwhile the draft is longer than the content by a mark at its end,
    the length of the prefix without gaps; so no state is kept elsewhere.

    Content identified by a validator may have no known digest. Then only the bytes covered by the
    mark, which are durable, are valid; and never the last byte, so that the server is always asked
    whether the content is unchanged.

    Attributes:
        size: number of valid bytes.
        total: bytes of the whole content.
        etag: the validator, with its quotes; None if there is a digest.
    """

    def __init__(self, descriptor: int, total: int, etag: str | None = None) -> None:
        """Use the draft *descriptor* of a file of *total* bytes."""
        self._descriptor = descriptor
        self.total, self.etag = total, etag
        self._noted = time.monotonic()
        length = os.fstat(descriptor).st_size
        if length == total + _MARK:
            good = int.from_bytes(read_at(descriptor, _MARK, total))
        else:
            good = length if etag is None else 0
        self.size = good if good <= total else 0
        if etag is not None:
            self.size = max(0, min(self.size, total - 1))

    def note(self, size: int, total: int, *, now: bool = False) -> None:
        """Record the first *size* bytes as valid, after making them durable, every few seconds."""
        if now or time.monotonic() - self._noted > _NOTE_SECONDS:
            _sync(self._descriptor)
            write_at(self._descriptor, size.to_bytes(_MARK), total)
            self._noted = time.monotonic()

    @contextlib.contextmanager
    def noting(self, hasher: Hasher, total: int) -> Iterator[None]:
        """Record progress around a block that writes ranges in any order and hashes in order."""
        self.note(hasher.size, total, now=True)
        try:
            yield
        except BaseException:
            self.note(hasher.size, total, now=True)
            raise


def goes_on(error: BaseException) -> bool:
    """Whether a download ended by *error*, an interrupt or an unreachable server, can resume."""
    return isinstance(error, _GOES_ON) or not isinstance(error, Exception)


@contextlib.contextmanager
def draft_beside(place: Path) -> Iterator[tuple[Path, int]]:
    """Create a hidden file beside *place*, with a descriptor; removed unless it was moved."""
    require_directory(place.parent)
    path = place.with_name(f".{_short(place.name)}.{uuid.uuid4().hex[:8]}.part")
    with about(place, path):
        descriptor = open_file(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        try:
            yield path, descriptor
        finally:
            os.close(descriptor)
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def kept_beside(place: Path, sha256: Digest | str) -> Iterator[tuple[Path, int]]:
    """Yield the draft of *place* for the content *sha256*, from an earlier process or new.

    It is kept if the download was interrupted or the server could not be reached. If another
    process has it, a new draft is used, which is not kept. Once *place* is complete, drafts of
    other content for it are removed.
    """
    require_directory(place.parent)
    path = place.with_name(f".{_short(place.name)}.{sha256[:_KEY]}.part")
    with about(place, path):
        descriptor = lock_file(path, 0o644)
    if descriptor is None:
        with draft_beside(place) as draft:
            yield draft
        return
    stays = False
    try:
        with about(place, path):
            yield path, descriptor
        _drop_others(place)
    except BaseException as error:
        stays = goes_on(error) and os.fstat(descriptor).st_size > 0
        raise
    finally:
        if not stays:
            path.unlink(missing_ok=True)
        os.close(descriptor)


def _drop_others(place: Path) -> None:
    """Remove the unlocked drafts of other content for *place*."""
    pattern = f".{glob.escape(_short(place.name))}.{'[0-9a-f]' * _KEY}.part"
    for path in place.parent.glob(pattern):
        with contextlib.suppress(OSError):
            descriptor = lock_file(path, 0o644)
            if descriptor is not None:
                path.unlink(missing_ok=True)
                os.close(descriptor)


def _short(name: str) -> str:
    """Return *name*; if it is long, its beginning and a hash."""
    encoded = os.fsencode(name)  # also accepts names that are not UTF-8
    if len(encoded) <= _LONGEST:
        return name
    return f"{name[:40]}.{hashlib.sha256(encoded).hexdigest()[:16]}"
