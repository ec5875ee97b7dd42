"""Maps operating system errors to failures: a full disk, or a failing one."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from dsx.core.errors import DSXError, StorageFailed, StorageFull, TooLarge

MORE_ROOM = "Delete files and empty the trash, or ask the operator for more space."
"""Advice for a full disk."""
_FULL = {errno.ENOSPC, errno.EDQUOT}
_FAILING = {
    getattr(errno, name, errno.EIO)  # not every system has all of them
    for name in (
        "EIO", "EROFS", "ENXIO", "ENODEV", "ESTALE", "EUCLEAN", "EBADMSG", "EREMOTEIO",
        "ETIMEDOUT", "ENOTCONN", "EHOSTDOWN", "ESHUTDOWN",
    )
}  # fmt: skip


@contextmanager
def disk() -> Iterator[None]:
    """Convert errors of a full or failing disk in the block to `DSXError`."""
    try:
        yield
    except OSError as error:
        if (designed := meaning(error)) is None:
            raise
        raise designed from error


def meaning(error: OSError) -> DSXError | None:
    """Return the failure that corresponds to *error*, raised by work on a file; None: a bug."""
    if error.errno in _FULL:
        return StorageFull(f"The disk is full. {MORE_ROOM}")
    if error.errno == errno.EFBIG:
        return TooLarge("The file system does not support files that large.")
    if error.errno in _FAILING:
        return StorageFailed("The disk failed; only bytes acknowledged before are kept.")
    return None
