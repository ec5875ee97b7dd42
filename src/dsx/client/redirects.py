"""Redirects in front of the hub: which are followed, and how the others are reported.

The HTTP library would turn a POST into a GET, drop a body, and drop the credential or send it to
another host. Here only a GET or HEAD follows a redirect, within the same server; all others are
reported to the user, who can correct the address.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit

import requests

from dsx.client.errors import Redirected

MOST = 5
"""Maximum number of redirects followed for one request."""
_UNCHANGED = 304
_STATUS = {301, 302, 303, 307, 308}
_SAFE = {"GET", "HEAD"}
_PORTS = {"http": 80, "https": 443}
_UNSEEN = re.compile(r"[^!-~]")
_SHOWN = 200


class Session(requests.Session):
    """A session with one server that follows no redirects, and reads the environment once."""

    def __init__(self) -> None:
        super().__init__()
        self._from_environment: dict[Any, dict[str, Any]] = {}

    def merge_environment_settings(
        self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any
    ) -> Any:
        """Return the settings of a request, with proxies and CA files from the environment.

        Looking for proxies takes as long as everything else about a small request.
        """
        key = (verify, cert)
        if key not in self._from_environment:
            found = super().merge_environment_settings(url, proxies, stream, verify, cert)
            self._from_environment[key] = dict(found)
        return self._from_environment[key] | {"stream": self.stream if stream is None else stream}

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Return None; redirects are handled by `following`."""
        _ = resp
        return None


def redirects(response: requests.Response) -> bool:
    """Whether *response* is a redirect."""
    return response.status_code in range(300, 400) and response.status_code != _UNCHANGED


def following(response: requests.Response, base_url: str, followed: int) -> str:
    """Return the URL to which *response* redirects; raise `Redirected` if that is not followed.

    *followed*: number of redirects already followed.
    """
    told = response.headers.get("Location", "")
    asked = str(response.url)
    target = _target(asked, told)
    if response.status_code not in _STATUS or target is None:
        raise _refused(response, f"{base_url} answered {response.status_code} without an address.")
    elsewhere = _origin(target) != _origin(urlsplit(asked))
    if elsewhere or response.request.method not in _SAFE:
        raise _refused(response, _advice(base_url, asked, target))
    if followed >= MOST:
        raise _refused(response, f"{base_url} redirects too many times; is SERVER_URL right?")
    return target.geturl()


def _refused(response: requests.Response, message: str) -> Redirected:
    error = Redirected(message)
    error.response, error.request = response, response.request
    return error


def _target(asked: str, told: str) -> SplitResult | None:
    """Return the address in ``Location``, or None if it is not an HTTP URL."""
    try:
        target = urlsplit(urljoin(asked, _UNSEEN.sub("", told)))
        _ = target.port
    except ValueError:
        return None
    return target if told and target.scheme in _PORTS and target.hostname else None


def _origin(url: SplitResult) -> tuple[str, str, int | None]:
    return url.scheme, (url.hostname or "").lower(), url.port or _PORTS.get(url.scheme)


def _advice(base_url: str, asked: str, target: SplitResult) -> str:
    """Return advice, without the target's query or credentials, which may be secrets."""
    place = target._replace(netloc=target.netloc.rpartition("@")[2], query="", fragment="")
    path = urlsplit(asked).path.removeprefix(urlsplit(base_url).path.rstrip("/"))
    if path and place.path.rstrip("/").endswith(path.rstrip("/")):
        root = place.path.rstrip("/").removesuffix(path.rstrip("/"))
        url = place._replace(path=root).geturl()[:_SHOWN]
        return f"The server redirects to {url}; set SERVER_URL (the base URL) to that."
    url = place.geturl()[:_SHOWN]
    return (
        f"The server redirects to {url}, which is not this request's address: "
        "set SERVER_URL (the base URL) to the address of the hub itself."
    )
