"""A pool of connections to one server: authentication, timeouts, retries and errors."""

from __future__ import annotations

import base64
import logging
import os
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import requests
from requests.auth import AuthBase

from dsx.client.connecting import PATIENCE, TellingAdapter, diagnosed, other_scheme
from dsx.client.errors import (
    IS_ITS_ADDRESS_RIGHT,
    NO_ROUTE,
    Answered,
    Broken,
    NotFound,
    Silent,
    Unavailable,
    Unreachable,
    WrongAddress,
    from_response,
    not_a_hub,
)
from dsx.client.redirects import Session, following, redirects
from dsx.client.settings import Credential, Timeout
from dsx.core import errors as core
from dsx.core.errors import DSXError, Elsewhere, RateLimited

log = logging.getLogger(__name__)
Notify = Callable[[str], None]
"""Called with a sentence while waiting for the server."""
MAX_WAIT = 60.0
"""Longest pause, in seconds, that a server may request; beyond it, the error is raised."""
OUTLASTED = 60.0
"""Seconds for which a running transfer keeps trying to reach the server."""
_SOON = 2.0  # seconds between its attempts
_BACKOFF = 0.2
_MAX_BACKOFF = 30.0
_LEFT_ALONE = 30.0
_ELSEWHERE = 20


class _Shown(AuthBase):
    """Sends the credential. An auth object also keeps requests from consulting ~/.netrc."""

    def __init__(self, credential: Credential | None) -> None:
        if isinstance(credential, tuple):  # requests' own Basic supports only Latin-1
            text = ":".join(credential).encode()
            self._header: str | None = f"Basic {base64.b64encode(text).decode()}"
        else:
            self._header = f"Bearer {credential}" if credential else None

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._header:
            request.headers["Authorization"] = self._header
        return request


class _Watched:
    """A request body that records its own failure.

    The HTTP library mistakes an `OSError` from reading a file for one of the connection.
    """

    def __init__(self, body: Iterable[bytes]) -> None:
        self.failure: Exception | None = None
        self._body = body
        size = getattr(body, "len", None)
        if size is not None:
            self.len = size  # how requests learns the length; without it, it sends chunks

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._body
        except Exception as error:
            self.failure = error
            raise


class Connection:
    """Requests to one server. Safe to share between threads, across a fork and by pickle."""

    def __init__(
        self,
        base_url: str,
        credential: Credential | None,
        *,
        timeout: Timeout,
        retries: int,
        pool: int,
        ca_file: str | None = None,
        notify: Notify | None = None,
    ) -> None:
        """*timeout*: seconds to connect, and to wait for bytes. *retries*: after the first attempt.

        *notify* is called about long waits; without it, they are logged.
        """
        self.base_url = base_url
        self.retries = retries
        self.pool = pool
        self._auth = _Shown(credential)
        self._timeout = timeout
        self._ca_file = ca_file
        self._notify = notify
        self._reached = False
        self._failing_since: float | None = None
        self._told = False
        self._left_alone_until = 0.0
        self._session, self._pid = self._new_session(), os.getpid()

    def request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        retries: int | None = None,
        patience: float = 0.0,
        under_way: bool = False,
        **more: Any,
    ) -> requests.Response:
        """Send a request and return its response; raise an error response, after retries.

        *patience*: minimum seconds to wait for bytes. *more* is passed to `requests`. A request is
        repeated on connection errors, 429, 502, 503 and 504, honouring ``Retry-After``; pass
        ``retries=0`` if it must not be. *under_way*: it belongs to a running transfer, which
        survives a restart of the server, see `pause`.
        """
        left = self.retries if retries is None else retries
        attempt = 0
        while True:
            try:
                return self._once(method, path, patience, headers=headers, **more)
            except (core.Unavailable, RateLimited) as error:
                if attempt >= tries(error, left) and not (under_way and left and self.away(error)):
                    raise
                self.pause(attempt, error, under_way=under_way)
                attempt += 1

    def pause(self, attempt: int, error: DSXError, *, under_way: bool = False) -> None:
        """Wait before a retry: as long as the server requested, or else growing; jittered.

        A transfer that is *under_way* waits only briefly, so that it resumes soon after the server
        is back, for as long as `away` is true.

        Raises *error* if the server requested more than `MAX_WAIT`, or a retry cannot help.
        """
        if isinstance(error, WrongAddress):
            raise error
        seconds = _pause(attempt, error)
        now = time.monotonic()
        self._failing_since = self._failing_since or now
        if under_way and self.away(error):
            seconds = min(seconds, _SOON)
            if attempt:
                self._tell(f"{error.message} Retrying for a minute.")
        elif now + seconds - self._failing_since > PATIENCE:
            self._tell(f"{error.message} Retrying.")
        time.sleep(seconds)

    def away(self, error: DSXError) -> bool:
        """Whether *error* suggests that the server, reached before, is being restarted."""
        since = self._failing_since or time.monotonic()
        lasts = time.monotonic() - since < OUTLASTED
        return self._reached and lasts and type(error) in {Unreachable, Silent, Broken, Unavailable}

    def ask(self, path: str, etag: str) -> requests.Response:
        """GET *path* unless it still has *etag* (304), for a caller who has a copy.

        The caller has a fallback, so this tries only once; for half a minute after a server did not
        answer, it raises `Unreachable` immediately.
        """
        if time.monotonic() < self._left_alone_until:
            raise Unreachable(f"{self.base_url} did not answer a moment ago.")
        condition = {"If-None-Match": f'"{etag}"'} if etag else {}
        try:
            response = self.request("GET", path, headers=condition, retries=0, stream=True)
        except (Unreachable, Silent):
            self._left_alone_until = time.monotonic() + _LEFT_ALONE
            raise
        if response.status_code == requests.codes.not_modified:
            response.raw.drain_conn()  # there is no body; this returns the connection to the pool
        return response

    def json(self, method: str, path: str, **more: Any) -> Any:
        """Send a request and return the JSON of its response."""
        return decoded(self.request(method, path, **more))

    def items(self, method: str, path: str, **more: Any) -> list[Any]:
        """Return the items of a list that has only one page."""
        return self.page(method, path, **more)[0]

    def page(self, method: str, path: str, **more: Any) -> tuple[list[Any], Any]:
        """Return the items of a page, and the cursor of the next page; None after the last."""
        response = self.request(method, path, **more)
        answer = decoded(response)
        if not isinstance(answer, dict) or not isinstance(answer.get("items"), list):
            raise not_a_hub(response)
        return answer["items"], answer.get("next")

    def close(self) -> None:
        """Close the connections; further requests open new ones."""
        self._session.close()

    def _once(
        self, method: str, path: str, patience: float, *, data: Any = None, **more: Any
    ) -> requests.Response:
        """Make one attempt; a failure of the body (*data*) itself is raised unchanged."""
        watched = _Watched(data) if data is not None else None
        try:
            return self._asked(method, path, patience, data=watched, **more)
        except DSXError:
            if watched is not None and watched.failure is not None:
                raise watched.failure from None
            raise

    def _asked(self, method: str, path: str, patience: float, **more: Any) -> requests.Response:
        timeout = (self._timeout[0], max(self._timeout[1], patience))
        try:
            url, verify = self.base_url + path, self._ca_file
            response = self._sent(method, url, timeout=timeout, verify=verify, **more)
            if response.status_code < requests.codes.bad_request:
                self._reached, self._told, self._failing_since = True, False, None
                return response
            with response:
                failure = from_response(response)
        except requests.Timeout as error:
            raise Silent(f"{self.base_url} did not answer in time: is it overloaded?") from error
        except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError) as error:
            raise self._unreachable(error) from error
        raise self._refused(failure)

    def _unreachable(self, error: Exception) -> Unreachable:
        """Return the error for a missing response; diagnose only a server never reached before."""
        if self._reached and not isinstance(error, requests.exceptions.SSLError):
            return Unreachable(f"Cannot reach {self.base_url}: is the server running?")
        return diagnosed(self.base_url, error)

    def _refused(self, failure: Answered) -> DSXError:
        """Return *failure*, with advice if the address is wrong, for example if it needs TLS."""
        if not self._reached and failure.foreign:
            other = other_scheme(self.base_url)
            if other is not None:
                return WrongAddress(f"{self.base_url} does not speak HTTP: use {other}.")
        if isinstance(failure, NotFound) and failure.message == NO_ROUTE and not self._reached:
            failure.message = f"There is no hub at {self.base_url}: {IS_ITS_ADDRESS_RIGHT}"
            failure.args = (failure.message,)
        return failure

    def _still_connecting(self) -> None:
        self._tell(f"{self.base_url} has not answered yet. Still trying.")

    def _tell(self, text: str) -> None:
        """Report *text*, once per outage of the server."""
        if self._told:
            return
        self._told = True
        if self._notify is not None:
            self._notify(text)
        else:
            log.warning("%s", text)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_session"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._session, self._pid = self._new_session(), os.getpid()

    def _sent(self, method: str, url: str, **more: Any) -> requests.Response:
        """Send one request, following redirects where that is safe."""
        followed = 0
        while True:
            response = self._current_session().request(method, url, **more)
            if not redirects(response):
                return response
            with response:
                url = following(response, self.base_url, followed)
            followed += 1
            more.pop("params", None)  # the new address contains them

    def _current_session(self) -> requests.Session:
        if self._pid != os.getpid():  # a forked process must not write to its parent's sockets
            self._session, self._pid = self._new_session(), os.getpid()
        return self._session

    def _new_session(self) -> requests.Session:
        session = Session()
        session.auth = self._auth
        session.headers["Accept-Encoding"] = "identity"
        adapter = TellingAdapter(self._still_connecting, pool_connections=2, pool_maxsize=self.pool)
        for scheme in ("http://", "https://"):
            session.mount(scheme, adapter)
        return session


def tries(error: DSXError, retries: int) -> int:
    """Return how often to repeat a request after *error*: *retries* times, or more.

    More for `Elsewhere`: a load balancer finds the server with an upload's bytes by chance.
    """
    return max(retries, _ELSEWHERE) if retries and isinstance(error, Elsewhere) else retries


def decoded(response: requests.Response) -> Any:
    """Return the JSON of a response; raise `NotAHub` if it is not JSON."""
    try:
        return response.json()
    except ValueError:
        raise not_a_hub(response) from None


def _pause(attempt: int, error: DSXError) -> float:
    """Return the seconds to wait before a retry; raise *error* if the server asked for too many."""
    asked = _retry_after(error)
    if asked is None:
        longest = min(_BACKOFF * 2.0**attempt, _MAX_BACKOFF)
        return longest * random.uniform(0.5, 1)  # noqa: S311
    if asked > MAX_WAIT:
        raise error
    if isinstance(error, Elsewhere):  # clients in step would never get the other server
        return asked * random.uniform(0.1, 2)  # noqa: S311
    return asked * random.uniform(1, 1.1)  # noqa: S311 (so that not all come back at once)


def _retry_after(error: DSXError) -> float | None:
    """Return the seconds in ``Retry-After``: a number or a date (RFC 9110 §10.2.3), or None."""
    response = getattr(error, "response", None)
    asked = response.headers.get("Retry-After", "").strip() if response is not None else ""
    if asked.isdecimal():
        return float(asked)
    try:
        return max(0.0, (parsedate_to_datetime(asked) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None
