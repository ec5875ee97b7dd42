"""What the exit code says: one table from failures to codes."""

from __future__ import annotations

import errno

from dsx.core import errors
from dsx.core.names import shown

OK, FAILED, USAGE, NOT_FOUND, DENIED, CONFLICT, INTEGRITY, UNREACHABLE, NO_ROOM = range(9)

_NO_ROOM_HERE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

_CODES: list[tuple[type[errors.DSXError], int]] = [
    (errors.Damaged, INTEGRITY),
    (errors.NotFound, NOT_FOUND),
    (errors.Gone, NOT_FOUND),
    (errors.Unauthenticated, DENIED),
    (errors.Denied, DENIED),
    (errors.Conflict, CONFLICT),
    (errors.PreconditionFailed, CONFLICT),
    (errors.DigestMismatch, INTEGRITY),
    (errors.Unusable, INTEGRITY),
    (errors.Unavailable, UNREACHABLE),
    (errors.RateLimited, UNREACHABLE),
    (errors.TimedOut, UNREACHABLE),
    (errors.TooLarge, NO_ROOM),
    (errors.StorageFull, NO_ROOM),
    (errors.Invalid, USAGE),
    (errors.Unprocessable, USAGE),
]

TABLE = """
Exit codes: 0 done · 1 other failure · 2 usage or bad input · 3 not found · 4 not authenticated or
not allowed · 5 conflict · 6 bytes missing or wrong · 7 server unreachable or unavailable ·
8 too large or no space left · 130 interrupted
"""


def code_for(error: BaseException) -> int:
    """The exit code for a failure."""
    for kind, code in _CODES:
        if isinstance(error, kind):
            return code
    if isinstance(error, FileNotFoundError):
        return NOT_FOUND
    if isinstance(error, OSError) and error.errno in _NO_ROOM_HERE:
        return NO_ROOM
    return FAILED


def told(error: BaseException) -> str:
    """A failure in one line; the system's own are told without their numbers."""
    if isinstance(error, UnicodeEncodeError):
        return f"'{shown(str(error.object))}' is not UTF-8."
    if isinstance(error, OSError) and error.strerror and error.errno is not None:
        where = f"{error.filename}: " if error.filename else ""
        here = " (on this machine)" if error.errno in _NO_ROOM_HERE else ""
        return f"{where}{error.strerror}{here}"
    return str(error)
