"""One pool of connections to one server: authentication, timeouts, retries, failures."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase

from dsx.client.errors import Silent, Unreachable, from_response
from dsx.core.errors import DSXError, RateLimited, Unavailable

Timeout = tuple[float, float]
_AGAIN = {429, 502, 503, 504}
_MAX_WAIT = 30.0


class _Bearer(AuthBase):
    """Sends the key. Being an auth object, it also keeps requests from consulting ~/.netrc."""

    def __init__(self, key: str | None) -> None:
        self._key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._key:
            request.headers["Authorization"] = f"Bearer {self._key}"
        return request


class Connection:
    """Requests to one server. Safe to share between threads, and across a fork."""

    def __init__(
        self, base_url: str, api_key: str | None, *, timeout: Timeout, retries: int, pool: int
    ) -> None:
        """*timeout*: seconds to connect, and to wait for bytes. *retries*: after the first try."""
        self.base_url = base_url.rstrip("/")
        self.retries = retries
        self.pool = pool
        self._auth = _Bearer(api_key)
        self._timeout = timeout
        self._session: requests.Session | None = None
        self._pid = 0

    def request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        retries: int | None = None,
        **more: Any,
    ) -> requests.Response:
        """The answer, unless it is a failure: then that is raised, after retries where they help.

        *more* goes to `requests`. A request is repeated on connection errors, 429, 502, 503 and
        504, honouring ``Retry-After``; give ``retries=0`` if it must not be.
        """
        left = self.retries if retries is None else retries
        attempt = 0
        while True:
            try:
                return self._once(method, path, headers=headers, **more)
            except (Unavailable, RateLimited) as error:
                if attempt >= left:
                    raise
                time.sleep(wait_before(attempt, error))
                attempt += 1

    def json(self, method: str, path: str, **more: Any) -> Any:
        """The JSON of the answer."""
        return self.request(method, path, **more).json()

    def close(self) -> None:
        """Close the connections; the next request opens new ones."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def _once(self, method: str, path: str, **more: Any) -> requests.Response:
        try:
            response = self._current_session().request(
                method, self.base_url + path, timeout=self._timeout, **more
            )
        except requests.Timeout as error:
            raise Silent(f"{self.base_url} did not answer in time.") from error
        except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError) as error:
            raise Unreachable(f"Cannot reach {self.base_url}: is the server running?") from error
        if response.status_code < requests.codes.bad_request:
            return response
        with response:
            failure = from_response(response)
        if response.status_code in _AGAIN and not isinstance(failure, (Unavailable, RateLimited)):
            raise Unavailable(failure.message, failure.details) from failure
        raise failure

    def _current_session(self) -> requests.Session:
        if self._session is None or self._pid != os.getpid():
            session = requests.Session()
            session.auth = self._auth
            session.headers["Accept-Encoding"] = "identity"
            adapter = HTTPAdapter(pool_connections=2, pool_maxsize=self.pool)
            for scheme in ("http://", "https://"):
                session.mount(scheme, adapter)
            self._session, self._pid = session, os.getpid()
        return self._session


def wait_before(attempt: int, error: DSXError) -> float:
    """Seconds to wait before trying again: what the server asked for, else growing and jittered."""
    response = getattr(error, "response", None)
    asked = response.headers.get("Retry-After", "") if response is not None else ""
    if asked.isdecimal():
        return min(float(asked), _MAX_WAIT)
    backoff: float = min(0.2 * 2**attempt, _MAX_WAIT)
    return backoff * random.uniform(0.5, 1)  # noqa: S311 (not a secret)


def segments(*parts: str) -> str:
    """A path of quoted segments: ``segments("file", "a b/c#d")`` is ``/file/a%20b/c%23d``."""
    return "".join(f"/{quote(part, safe='/')}" for part in parts)
