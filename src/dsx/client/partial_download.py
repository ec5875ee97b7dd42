"""Downloads that were broken off, kept beside their target so that another process goes on."""

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

_sync = getattr(os, "fdatasync", os.fsync)  # macOS has only the latter
_MARK = 8
_NOTE_SECONDS = 2.0
_KEY = 16  # of a SHA-256, in the name of a draft
_LONGEST = 200  # bytes of a name, so that what is added still fits in the 255 of a file system
_GOES_ON = (core.Unavailable, core.RateLimited, core.TimedOut, core.Paused)


class PartialDownload:
    """How much of a draft is good: its beginning, as long as it grows in order.

    Ranges arrive in any order. While they do, the draft is longer than the whole by a mark at its
    end, which says how far there is no gap; so nothing has to be kept elsewhere.

    Of content that is told by a validator, nobody may know the digest. Then what is there counts
    only as far as the mark says, for that much is durable; and the last byte never does, so that
    the server is always asked whether the content is still the same.

    Attributes:
        size: bytes that are good.
        total: bytes in all.
        etag: the validator, with its quotes; None: there is a digest.
    """

    def __init__(self, descriptor: int, total: int, etag: str | None = None) -> None:
        """Of the draft of a file of *total* bytes."""
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
        """The first *size* bytes are good: make them durable and say so, every few seconds."""
        if now or time.monotonic() - self._noted > _NOTE_SECONDS:
            _sync(self._descriptor)
            write_at(self._descriptor, size.to_bytes(_MARK), total)
            self._noted = time.monotonic()

    @contextlib.contextmanager
    def noting(self, hasher: Hasher, total: int) -> Iterator[None]:
        """A block in which bytes arrive in any order, and *hasher* takes those in order."""
        self.note(hasher.size, total, now=True)
        try:
            yield
        except BaseException:
            self.note(hasher.size, total, now=True)
            raise


def goes_on(error: BaseException) -> bool:
    """Whether a download that *error* has ended can go on: an interrupt, or no server."""
    return isinstance(error, _GOES_ON) or not isinstance(error, Exception)


@contextlib.contextmanager
def draft_beside(place: Path) -> Iterator[tuple[Path, int]]:
    """A hidden new file beside *place*, with a descriptor; removed unless it was moved there."""
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
    """The draft of *place* with the content *sha256*: that of an earlier process, if there is one.

    It stays where the download can go on: if it was interrupted, or the server could not be
    reached. If another process is at it, ours is a new one that does not stay. Once *place* is
    whole, drafts of what was to be there before are of no use and go, too.
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
    """Remove the drafts of other content for *place*, except those somebody is at."""
    pattern = f".{glob.escape(_short(place.name))}.{'[0-9a-f]' * _KEY}.part"
    for path in place.parent.glob(pattern):
        with contextlib.suppress(OSError):
            descriptor = lock_file(path, 0o644)
            if descriptor is not None:
                path.unlink(missing_ok=True)
                os.close(descriptor)


def _short(name: str) -> str:
    """*name*; of a long one its beginning and a hash."""
    encoded = os.fsencode(name)  # which takes what is not UTF-8, too
    if len(encoded) <= _LONGEST:
        return name
    return f"{name[:40]}.{hashlib.sha256(encoded).hexdigest()[:16]}"
