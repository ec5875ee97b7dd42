"""The failures the SDK raises: the core tree, mixed with what callers of `requests` catch already.

``except dsx.core.errors.NotFound`` and ``except requests.HTTPError`` both work; the latter has its
``response``.
"""

from __future__ import annotations

from typing import Any

import requests

from dsx.core import errors as core


class Unreachable(core.Unavailable, requests.ConnectionError, ConnectionError):
    """The server does not answer at all."""


class Silent(core.Unavailable, requests.Timeout, TimeoutError):
    """The server answered too slowly."""


class Broken(core.Unavailable, requests.exceptions.ChunkedEncodingError):
    """The connection broke again and again in the middle of a body."""


def _with_response(kind: type[core.DSXError]) -> type[core.DSXError]:
    bases: tuple[type, ...] = (kind, requests.HTTPError)
    if kind is core.NotFound:
        bases += (FileNotFoundError,)
    elif kind is core.Denied:
        bases += (PermissionError,)
    return type(kind.__name__, bases, {"__doc__": kind.__doc__, "__module__": __name__})


_ANSWERED = {code: _with_response(kind) for code, kind in core.BY_CODE.items()}


def from_response(response: requests.Response) -> core.DSXError:
    """The failure a response tells of: by its problem document, or else by its status."""
    problem: Any = None
    if "json" in response.headers.get("Content-Type", ""):
        try:
            problem = response.json()
        except ValueError:
            problem = None
    if not isinstance(problem, dict):
        problem = {}
    code = problem.get("code")
    if code not in _ANSWERED:
        code = _code_of(response.status_code)
    message = problem.get("detail") or f"{response.status_code} {response.reason}"
    if code == core.Unauthenticated.code and "DSX_API_KEY" not in message:
        message += " Does the API key match the server's DSX_API_KEY?"
    details = problem.get("details")
    error = _ANSWERED[code](str(message), details if isinstance(details, dict) else None)
    error.response = response  # type: ignore[attr-defined]
    error.request = response.request  # type: ignore[attr-defined]
    return error


def _code_of(status: int) -> str:
    for kind, its_status in core.STATUS.items():
        if its_status == status:
            return kind.code
    return core.Invalid.code if status < 500 else core.Unavailable.code  # noqa: PLR2004
