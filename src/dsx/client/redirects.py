"""Redirects in front of the hub: which are followed, and what is said of the others.

The HTTP library would follow them its own way: a POST becomes a GET, a body is left out, the
credential stays behind or goes to whoever is named. Here a GET or HEAD may be sent elsewhere on the
same server, and everything else is told to the user, who can set the right address once.
"""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urljoin, urlsplit

import requests

from dsx.client.errors import Redirected

MOST = 5
"""So many redirects of one request are followed."""
_UNCHANGED = 304
_STATUS = {301, 302, 303, 307, 308}
_SAFE = {"GET", "HEAD"}
_PORTS = {"http": 80, "https": 443}
_UNSEEN = re.compile(r"[^!-~]")
_SHOWN = 200


class Session(requests.Session):
    """A session of `requests` that takes no answer for a redirect."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """None: see `following`."""
        _ = resp
        return None


def redirects(response: requests.Response) -> bool:
    """Whether *response* is neither an answer nor a failure, but sends the client elsewhere."""
    return response.status_code in range(300, 400) and response.status_code != _UNCHANGED


def following(response: requests.Response, base_url: str, followed: int) -> str:
    """Where the request that got *response*, a redirect, is to be sent again.

    *followed*: how many redirects have been already. `Redirected` says where the server wanted to
    have the request, if it is not to be sent there.
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
        raise _refused(response, f"{base_url} redirects again and again; is SERVER_URL right?")
    return target.geturl()


def _refused(response: requests.Response, message: str) -> Redirected:
    error = Redirected(message)
    error.response, error.request = response, response.request
    return error


def _target(asked: str, told: str) -> SplitResult | None:
    """The address that ``Location`` means, or None if it is none of the web."""
    try:
        target = urlsplit(urljoin(asked, _UNSEEN.sub("", told)))
        _ = target.port
    except ValueError:
        return None
    return target if told and target.scheme in _PORTS and target.hostname else None


def _origin(url: SplitResult) -> tuple[str, str, int | None]:
    return url.scheme, (url.hostname or "").lower(), url.port or _PORTS.get(url.scheme)


def _advice(base_url: str, asked: str, target: SplitResult) -> str:
    """What to tell: never a query, or a name and password, which may be secrets."""
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
