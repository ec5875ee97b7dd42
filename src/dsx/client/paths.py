"""Paths of this machine, as people write them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from errno import ENOTDIR
from pathlib import Path

from dsx.core.paths import at_home


def local(path: str | os.PathLike[str]) -> Path:
    """*path* with a ``~`` or ``~user`` at its beginning expanded, as a shell would.

    Something that is really called so is meant itself.
    """
    if os.path.lexists(path):
        return Path(path)
    return at_home(path)


@contextmanager
def about(place: str | os.PathLike[str], draft: Path | None = None) -> Iterator[None]:
    """Have what the system refuses in the block name *place*, not nothing, nor the hidden *draft*.

    Failures of the network are `OSError`s, too, but of their own classes, or without a number.
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
    """`FileNotFoundError` or `NotADirectoryError` unless *directory* is one."""
    if not stat.S_ISDIR(directory.stat().st_mode):
        raise NotADirectoryError(ENOTDIR, os.strerror(ENOTDIR), str(directory))
