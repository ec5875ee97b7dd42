"""Saves downloads to a target: a file, a link, a pipe or a device."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import BinaryIO

from dsx.client.errors import Conflict
from dsx.client.partial_download import PartialDownload, draft_beside, kept_beside
from dsx.client.progress import Progress
from dsx.client.system import replace_file
from dsx.client.transfer import Remote, fetch_file, fetch_stream
from dsx.core.digest import Digest
from dsx.core.errors import DSXError

_LINKS = 40  # as many as Linux follows


def save(
    remote: Remote,
    place: Path,
    progress: Progress | None,
    *,
    key: Digest | str | None = None,
    ranges: bool = True,
) -> None:
    """Save the body to *place*; a file appears complete and verified, or not at all.

    If *place* is a link, the file it points to is replaced. A pipe or device is never replaced:
    bytes are written as they arrive. With *key*, which identifies the content, and a known size,
    bytes received before an interruption are kept, and the next call resumes there.
    """
    if is_stream(place):
        _pour(remote, place, progress)
        return
    target = behind_links(place)
    if key is None or remote.size is None:
        with draft_beside(target) as (draft, descriptor):
            fetch_file(remote, descriptor, progress, ranges=ranges)
            os.fsync(descriptor)
            replace_file(draft, target)
        return
    with kept_beside(target, key) as (draft, descriptor):
        kept = PartialDownload(descriptor, remote.size)
        fetch_file(remote, descriptor, progress, ranges=ranges, kept=kept)
        os.fsync(descriptor)
        replace_file(draft, target)


def _pour(remote: Remote, place: Path, progress: Progress | None) -> None:
    try:
        with _opened(place) as output:
            fetch_stream(remote, output.write, progress)
    except OSError as error:
        if isinstance(error, DSXError) or error.filename is not None or error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(place)) from error


def is_stream(place: Path) -> bool:
    """Whether *place* can only be written to: a pipe, a device, or a file already open."""
    if _open_already(place) is not None:
        return True
    try:
        mode = place.stat().st_mode
    except FileNotFoundError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def behind_links(place: Path) -> Path:
    """Return the path of the regular file, existing or not, that *place* is or points to.

    Raises `Conflict` if it is something else, which must not be replaced, and `OSError` if the
    system denies writing through the link, for example another user's in a shared directory.
    """
    if not place.is_symlink():
        target = place
    else:
        with contextlib.suppress(FileNotFoundError, IsADirectoryError):
            os.close(os.open(place, os.O_WRONLY))
        target = Path(os.path.realpath(place))
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return target
    if not stat.S_ISREG(mode):
        raise Conflict(f"{place} is not a regular file; it was not replaced.")
    return target


def _opened(place: Path) -> BinaryIO:
    descriptor = _open_already(place)
    if descriptor is not None:  # reopened, a file would be overwritten from its beginning
        return os.fdopen(os.dup(descriptor), "wb")
    return place.open("wb")


def _open_already(place: Path) -> int | None:
    """Return the descriptor that *place* names, such as ``/dev/stdout`` or ``/dev/fd/3``."""
    ours = os.path.realpath("/proc/self/fd")
    for _ in range(_LINKS):
        directory = os.path.realpath(place.parent)
        if directory in {ours, "/dev/fd"} and place.name.isdecimal():
            return int(place.name)
        if not place.is_symlink():
            return None
        place = Path(directory, place.readlink())
    return None
