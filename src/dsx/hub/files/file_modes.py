"""Keeps the hub's own files private to its user."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)

UMASK = 0o077


def keep_private(paths: Iterable[Path]) -> None:
    """Make new files private, and those of *paths* that others can read; warn about the latter.

    A private directory protects everything in it.
    """
    os.umask(UMASK)
    for path in paths:
        try:
            status = path.lstat()
            if stat.S_ISLNK(status.st_mode) or not status.st_mode & UMASK:
                continue
            path.chmod(stat.S_IMODE(status.st_mode) & ~UMASK)
        except FileNotFoundError:
            continue
        except OSError as error:
            log.warning("file is readable by others", path=str(path), error=error.strerror)
        else:
            log.warning("file was readable by others, mode changed", path=str(path))
