"""What is downloaded, at the place that somebody named: a file, a link, a pipe or a device."""

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

_LINKS = 40  # that Linux follows in a row


def save(
    remote: Remote,
    place: Path,
    progress: Progress | None,
    *,
    key: Digest | str | None = None,
    ranges: bool = True,
) -> None:
    """Have the body at *place*: a file appears whole and verified, or not at all.

    Of a link, that is where it leads to. Into a pipe or a device the bytes are written as they
    come; it is never replaced. With *key*, which names the content, whose size is known, what has
    come before an interrupt stays, and the next call goes on there.
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
    """Whether bytes can only be written into *place*: a pipe, a device, a file that is open."""
    if _open_already(place) is not None:
        return True
    try:
        mode = place.stat().st_mode
    except FileNotFoundError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def behind_links(place: Path) -> Path:
    """The path of the regular file that *place* is or leads to, or of one that is to be made.

    `Conflict` if there is something else: that must not be replaced. `OSError` if the system does
    not let us write where the link leads to, as with others' links in a shared directory.
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
        raise Conflict(f"{place} is no regular file; it is left as it is.")
    return target


def _opened(place: Path) -> BinaryIO:
    descriptor = _open_already(place)
    if descriptor is not None:  # opened anew, a file would be written from its beginning
        return os.fdopen(os.dup(descriptor), "wb")
    return place.open("wb")


def _open_already(place: Path) -> int | None:
    """The descriptor of ours that *place* stands for: ``/dev/stdout``, ``/dev/fd/3``."""
    ours = os.path.realpath("/proc/self/fd")
    for _ in range(_LINKS):
        directory = os.path.realpath(place.parent)
        if directory in {ours, "/dev/fd"} and place.name.isdecimal():
            return int(place.name)
        if not place.is_symlink():
            return None
        place = Path(directory, place.readlink())
    return None
