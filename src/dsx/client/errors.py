"""Exceptions of the SDK: those of the core, also derived from the ones `requests` raises.

``except dsx.core.errors.NotFound``, ``except requests.HTTPError`` and, where a built-in exception
has the same meaning, ``except FileNotFoundError`` all work. An error from a response has it as
``response``. Errors can be pickled to reach the parent of a worker process, without the response,
because it contains the key.
"""

from __future__ import annotations

import requests

from dsx.core import errors as core
from dsx.core.errors import DSXError


class _Picklable(DSXError):
    def __reduce__(self) -> tuple[type[DSXError], tuple[object, ...]]:
        return type(self), (self.message, self.details)


class Answered(_Picklable, requests.HTTPError):
    """The server answered with an error or an invalid response.

    ``foreign``: the response does not appear to come from a hub.
    """

    foreign = False


class Invalid(core.Invalid, Answered, ValueError):
    """The request, or a name in it, is malformed."""


class PartCorrupt(core.PartCorrupt, Invalid):
    """A part was corrupted in transit."""


class Unauthenticated(core.Unauthenticated, Answered, PermissionError):
    """The credential is missing or invalid."""


class Denied(core.Denied, Answered, PermissionError):
    """The credential does not allow the request."""


class NotFound(core.NotFound, Answered, FileNotFoundError):
    """The file, dataset or other resource does not exist."""


class Gone(core.Gone, Answered, FileNotFoundError):
    """The resource existed, but has expired or been deleted."""


class Damaged(core.Damaged, Gone):
    """The server's copy is damaged; uploading the original file again repairs it."""


class TimedOut(core.TimedOut, Answered, TimeoutError):
    """The server received no bytes for too long."""


class Conflict(core.Conflict, Answered):
    """The request conflicts with the current state."""


class TooMany(core.TooMany, Conflict):
    """The maximum number of such resources is reached."""


class AlreadyExists(core.AlreadyExists, Conflict, FileExistsError):
    """The name is taken."""


class OffsetMismatch(core.OffsetMismatch, Conflict):
    """The part does not start at the upload's offset."""


class Superseded(core.Superseded, Conflict):
    """A newer writer of the same bytes took over."""


class Paused(core.Paused, Conflict):
    """The transfer is paused."""


class Incomplete(core.Incomplete, Conflict):
    """Bytes are missing."""


class PreconditionFailed(core.PreconditionFailed, Answered):
    """The condition does not hold: with ``if_absent``, the name is taken."""


class TooLarge(core.TooLarge, Answered):
    """The data exceeds a limit of the server."""


class Unsupported(core.Unsupported, Answered):
    """The server does not support the content coding of the body."""


class RangeUnsatisfiable(core.RangeUnsatisfiable, Answered):
    """The requested range contains no bytes."""


class Unprocessable(core.Unprocessable, Answered, ValueError):
    """A value is not acceptable."""


class DigestMismatch(core.DigestMismatch, Unprocessable):
    """The bytes do not match the expected digest."""


class RateLimited(core.RateLimited, Answered):
    """Too many requests."""


class Unavailable(core.Unavailable, Answered):
    """The server cannot handle the request at the moment."""


class StorageFailed(core.StorageFailed, Unavailable):
    """The server's disk failed; acknowledged data is kept."""


class Elsewhere(core.Elsewhere, Unavailable):
    """Another server has the bytes of the upload."""


class Unusable(core.Unusable, Unavailable):
    """The server's catalog is damaged; its operator has to repair it."""


class NotMounted(core.NotMounted, Unavailable):
    """The dataset's directory cannot be read on the server at the moment."""


class StorageFull(core.StorageFull, Answered):
    """The server has no room for the bytes."""


class Redirected(Invalid):
    """The server redirects to another address: the base URL is wrong."""


class Unreachable(_Picklable, core.Unavailable, requests.ConnectionError, ConnectionError):
    """The server cannot be reached."""


class WrongAddress(Unreachable):
    """The server cannot be reached at this address; retrying does not help."""


class Untrusted(WrongAddress, requests.exceptions.SSLError):
    """The server's identity cannot be verified."""


class NotAHub(Answered):
    """The server at this address is not a DSX Hub."""

    foreign = True


class Silent(_Picklable, core.Unavailable, requests.Timeout, TimeoutError):
    """The server answers too slowly."""


class Broken(
    _Picklable,
    core.Unavailable,
    requests.exceptions.ChunkedEncodingError,
    requests.ConnectionError,
    ConnectionError,
):
    """The connection broke repeatedly in the middle of a body."""


class CacheUnusable(_Picklable, OSError):
    """The cache directory cannot be read or written."""


class CacheWarning(UserWarning):
    """Cached files differ, or may differ, from those on the server."""


_BY_CODE: dict[str, type[Answered]] = {
    kind.code: kind
    for kind in (
        Answered, Invalid, PartCorrupt, Unauthenticated, Denied, NotFound, Gone, Damaged,
        TimedOut,
        Conflict, TooMany, AlreadyExists, OffsetMismatch, Superseded, Paused, Incomplete,
        PreconditionFailed, TooLarge, Unsupported, RangeUnsatisfiable, Unprocessable,
        DigestMismatch, RateLimited, Unavailable, Unusable, StorageFailed, Elsewhere, NotMounted,
        StorageFull,
    )
}  # fmt: skip
_BY_STATUS = {
    core.STATUS[core.BY_CODE[code]]: kind for code, kind in reversed(list(_BY_CODE.items()))
} | {502: Unavailable, 504: Unavailable}


_FOREIGN = {400, 403, 404, 405, 500, 501}
"""Statuses with which other servers answer unknown routes."""
NO_ROUTE = "Not Found"
"""A hub's message for an unknown path."""
IS_ITS_ADDRESS_RIGHT = "is its address right (SERVER_URL)?"
IS_IT_A_HUB = "This is not a response of a DSX Hub: is its address right (SERVER_URL)?"


def from_response(response: requests.Response) -> Answered:
    """Return the error of a response, by its problem document or else its status.

    A gateway's 502 or 504 is `Unavailable` whatever its body contains.
    """
    problem = _problem(response)
    status = response.status_code
    kind = _BY_CODE.get(str(problem.get("code")))
    if kind is None or status in {502, 504}:
        kind = _BY_STATUS.get(status) or (Invalid if status < 500 else Answered)  # noqa: PLR2004
    message = str(problem.get("detail") or f"{_asked(response)}: {status} {response.reason}")
    foreign = not problem.get("code") and status in _FOREIGN
    if foreign:
        message += f". {IS_IT_A_HUB}"
    if kind is Unauthenticated and "DSX_API_KEY" not in message:
        message += _who(response)
    details = problem.get("details")
    error = kind(message, details if isinstance(details, dict) else None)
    error.foreign = foreign
    error.response, error.request = response, response.request
    return error


def _who(response: requests.Response) -> str:
    """Explain what is wrong with the credential."""
    shown = response.request.headers.get("Authorization") if response.request is not None else None
    if not shown:
        return " Sign in with `dsx login`, or give an API key (DSX_API_KEY)."
    if shown.startswith("Basic "):
        return " The user name or the password is wrong."
    return " Does the API key match the server's DSX_API_KEY? Or sign in again (`dsx login`)."


def not_a_hub(response: requests.Response) -> NotAHub:
    """Return the error for a successful response that is not from a hub."""
    error = NotAHub(f"{_asked(response)}: {response.status_code}. {IS_IT_A_HUB}")
    error.response, error.request = response, response.request
    return error


def _asked(response: requests.Response) -> str:
    """Return the URL of the request, without the query."""
    return str(response.url).partition("?")[0]


def _problem(response: requests.Response) -> dict[str, object]:
    if "json" not in response.headers.get("Content-Type", ""):
        return {}
    try:
        problem = response.json()
    except ValueError:
        return {}
    return problem if isinstance(problem, dict) else {}
