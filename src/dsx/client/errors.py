"""The failures the SDK raises: the core tree, mixed with what callers of `requests` catch already.

``except dsx.core.errors.NotFound``, ``except requests.HTTPError`` and, where a built-in exception
says the same, ``except FileNotFoundError`` all work. An error that an answer told of has its
``response``. They can be pickled, so they reach the parent of a worker process; the response stays
behind, because it carries the key.
"""

from __future__ import annotations

import requests

from dsx.core import errors as core
from dsx.core.errors import DSXError


class _Picklable(DSXError):
    def __reduce__(self) -> tuple[type[DSXError], tuple[object, ...]]:
        return type(self), (self.message, self.details)


class Answered(_Picklable, requests.HTTPError):
    """The server answered with a failure, or with something that is not to be trusted.

    ``foreign``: something answered so that does not know of a hub's ways.
    """

    foreign = False


class Invalid(core.Invalid, Answered, ValueError):
    """The request, or a name in it, is malformed."""


class PartCorrupt(core.PartCorrupt, Invalid):
    """The bytes of a part were changed on the way."""


class Unauthenticated(core.Unauthenticated, Answered, PermissionError):
    """The server does not know the key."""


class Denied(core.Denied, Answered, PermissionError):
    """The key does not allow it."""


class NotFound(core.NotFound, Answered, FileNotFoundError):
    """There is no such file or dataset."""


class Gone(core.Gone, Answered, FileNotFoundError):
    """The thing existed and has expired."""


class Damaged(core.Damaged, Gone):
    """The server's copy is damaged; it answers again once the right bytes are uploaded."""


class TimedOut(core.TimedOut, Answered, TimeoutError):
    """The server heard nothing from us for too long."""


class Conflict(core.Conflict, Answered):
    """The request contradicts the present state."""


class TooMany(core.TooMany, Conflict):
    """You have as many of these as one may have."""


class AlreadyExists(core.AlreadyExists, Conflict, FileExistsError):
    """The name is taken."""


class OffsetMismatch(core.OffsetMismatch, Conflict):
    """The part does not start where the upload stands."""


class Superseded(core.Superseded, Conflict):
    """A newer writer of the same bytes took over."""


class Paused(core.Paused, Conflict):
    """The transfer is paused."""


class Incomplete(core.Incomplete, Conflict):
    """Bytes are missing."""


class PreconditionFailed(core.PreconditionFailed, Answered):
    """The condition does not hold: with ``if_absent``, the name is taken."""


class TooLarge(core.TooLarge, Answered):
    """Over the server's limit."""


class Unsupported(core.Unsupported, Answered):
    """The server does not take a body in this coding."""


class RangeUnsatisfiable(core.RangeUnsatisfiable, Answered):
    """No byte of the asked range exists."""


class Unprocessable(core.Unprocessable, Answered, ValueError):
    """A value is not acceptable."""


class DigestMismatch(core.DigestMismatch, Unprocessable):
    """The bytes are not the ones that were announced."""


class RateLimited(core.RateLimited, Answered):
    """Too many requests."""


class Unavailable(core.Unavailable, Answered):
    """The server cannot answer now."""


class StorageFailed(core.StorageFailed, Unavailable):
    """The server's disk failed; what it had acknowledged is kept."""


class Elsewhere(core.Elsewhere, Unavailable):
    """Another server has the bytes of the upload."""


class Unusable(core.Unusable, Unavailable):
    """The server's catalog is damaged; its operator has to see to it."""


class NotMounted(core.NotMounted, Unavailable):
    """The dataset's directory cannot be read on the server at the moment."""


class StorageFull(core.StorageFull, Answered):
    """The server has no room for the bytes."""


class Redirected(Invalid):
    """The server wants the request at another address: the base URL is not the right one."""


class Unreachable(_Picklable, core.Unavailable, requests.ConnectionError, ConnectionError):
    """The server does not answer at all."""


class WrongAddress(Unreachable):
    """The server cannot be reached in this way, however often it is tried."""


class Untrusted(WrongAddress, requests.exceptions.SSLError):
    """The server does not show that it is the one it should be."""


class NotAHub(Answered):
    """Something answers at the address that is no DSX Hub."""

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
    """The connection broke again and again in the middle of a body."""


class CacheUnusable(_Picklable, OSError):
    """The cache directory cannot be read or written."""


class CacheWarning(UserWarning):
    """What is in the cache is not, or may not be, what the server has."""


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
"""Answers of other servers to what they have never heard of."""
NO_ROUTE = "Not Found"
"""What a hub says of a path that is none of its own."""
IS_ITS_ADDRESS_RIGHT = "is its address right (SERVER_URL)?"
IS_IT_A_HUB = "That is not how a DSX Hub answers: is its address right (SERVER_URL)?"


def from_response(response: requests.Response) -> Answered:
    """The failure a response tells of: by its problem document, or else by its status.

    A gateway's 502 or 504 is `Unavailable` whatever its body says.
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
    """What is wrong with what was shown."""
    shown = response.request.headers.get("Authorization") if response.request is not None else None
    if not shown:
        return " Sign in with `dsx login`, or give an API key (DSX_API_KEY)."
    if shown.startswith("Basic "):
        return " The user name or the password is wrong."
    return " Does the API key match the server's DSX_API_KEY? Or sign in again (`dsx login`)."


def not_a_hub(response: requests.Response) -> NotAHub:
    """The failure of an answer that says it is fine, and is none of a hub's."""
    error = NotAHub(f"{_asked(response)}: {response.status_code}. {IS_IT_A_HUB}")
    error.response, error.request = response, response.request
    return error


def _asked(response: requests.Response) -> str:
    """What was asked for, without the query."""
    return str(response.url).partition("?")[0]


def _problem(response: requests.Response) -> dict[str, object]:
    if "json" not in response.headers.get("Content-Type", ""):
        return {}
    try:
        problem = response.json()
    except ValueError:
        return {}
    return problem if isinstance(problem, dict) else {}
