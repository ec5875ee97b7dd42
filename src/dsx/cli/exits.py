"""Exit codes and error messages of failures."""

from __future__ import annotations

import errno

from dsx.cli.output import human
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

_FREES = "`dsx delete` files and `dsx trash empty`, or ask its operator for more space"

TABLE = """
Exit codes: 0 done · 1 other failure · 2 usage or bad input · 3 not found · 4 not authenticated or
not allowed · 5 conflict · 6 bytes missing or wrong · 7 server unreachable or unavailable ·
8 too large or no space left · 130 interrupted
"""


def code_for(error: BaseException) -> int:
    """Return the exit code for a failure."""
    for kind, code in _CODES:
        if isinstance(error, kind):
            return code
    if isinstance(error, FileNotFoundError):
        return NOT_FOUND
    if isinstance(error, OSError) and error.errno in _NO_ROOM_HERE:
        return NO_ROOM
    return FAILED


def failure(error: BaseException) -> dict[str, object]:
    """Return a failure as --json prints it to standard error."""
    details = error.details if isinstance(error, errors.DSXError) else {}
    kind = error.code if isinstance(error, errors.DSXError) else "failed"
    return {"error": told(error), "kind": kind, "code": code_for(error), "details": dict(details)}


def told(error: BaseException) -> str:
    """Return a failure as one line; system errors without their numbers."""
    if isinstance(error, (errors.TooLarge, errors.StorageFull)):
        return _no_room(error)
    if isinstance(error, UnicodeEncodeError):
        return f"'{shown(str(error.object))}' is not UTF-8."
    if isinstance(error, OSError) and error.strerror and error.errno is not None:
        where = f"{error.filename}: " if error.filename else ""
        here = " (on this machine)" if error.errno in _NO_ROOM_HERE else ""
        return f"{where}{error.strerror}{here}"
    return str(error)


def _no_room(error: errors.DSXError) -> str:
    """Describe a full quota, disk or size limit, and what to do."""
    known = {key: value for key, value in error.details.items() if isinstance(value, int)}
    more = "see `dsx whoami`; `dsx delete` files, and `dsx trash empty`, to make room"
    if {"quota", "used"} <= known.keys():
        used, quota = human(known["used"]), human(known["quota"])
        return f"Your quota is exceeded: {used} of {quota} are used; {more}."
    if "quota_files" in known:
        return f"Your quota is {known['quota_files']} files, versions and trash included; {more}."
    if isinstance(error, errors.StorageFull) and "needed" in known:
        return f"The hub has no room for {human(known['needed'])}: {_FREES}."
    if isinstance(error, errors.StorageFull):
        return f"{error.message} On the command line: {_FREES}."
    if "max_file_size" in known:
        return f"The largest file this hub accepts is {human(known['max_file_size'])}."
    return error.message
