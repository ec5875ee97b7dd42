"""Local paths, as people write them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from errno import ENOTDIR
from pathlib import Path

from dsx.core.paths import at_home


def local(path: str | os.PathLike[str]) -> Path:
    """Expand a leading ``~`` or ``~user`` in *path*, as a shell would, unless *path* exists."""
    if os.path.lexists(path):
        return Path(path)
    return at_home(path)


@contextmanager
def about(place: str | os.PathLike[str], draft: Path | None = None) -> Iterator[None]:
    """Make system errors in the block name *place* instead of no file or the hidden *draft*.

    Network errors, which have classes of their own or no errno, are not changed.
    """
    try:
        yield
    except (ConnectionError, TimeoutError):
        raise
    except OSError as error:
        ours = type(error).__module__ == OSError.__module__ and error.errno is not None
        if ours and str(error.filename) in {"None", str(draft)}:
            error.filename, error.filename2 = str(place), None
        raise


def require_directory(directory: Path) -> None:
    """Raise `FileNotFoundError` or `NotADirectoryError` unless *directory* is a directory."""
    if not stat.S_ISDIR(directory.stat().st_mode):
        raise NotADirectoryError(ENOTDIR, os.strerror(ENOTDIR), str(directory))
