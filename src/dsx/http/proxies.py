"""Restores the scheme, host, path and client address that a request had before the proxies.

The middleware sets them in the scope, so that the rest of the server need not handle proxies.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Receive, Scope, Send

from dsx.core.errors import Invalid
from dsx.http.forwarded import HOST, Told, Trust, passed_on, told
from dsx.http.problems import render
from dsx.http.public import ASKED, answer_below
from dsx.transport.extensions import INTERIM


@dataclass(frozen=True, slots=True)
class Site:
    """The operator's settings.

    Attributes:
        origin: scheme and host of all URLs; None: those that the client used.
        root: root path of the hub, as ``/hub``; empty: none.
        trust: the trusted proxies.
    """

    origin: tuple[str, str] | None
    root: str
    trust: Trust

    @classmethod
    def of(cls, public_url: str, root_path: str, proxies: Collection[str]) -> Self:
        """Build it from validated settings."""
        parts = urlsplit(public_url)
        origin = (parts.scheme, parts.netloc) if public_url else None
        return cls(origin, parts.path.rstrip("/") or root_path, Trust.of(tuple(proxies)))


def first_parts(paths: Iterable[str]) -> set[str]:
    """The first segments of *paths*."""
    return {path.split("/")[1] for path in paths if path.startswith("/")}


class Proxies:
    """ASGI middleware: see the module."""

    def __init__(self, app: ASGIApp, site: Site, own: Collection[str]) -> None:
        """*own*: the first segments of all paths of the hub; see `_rooted`."""
        self.app = app
        self._site = site
        self._own = frozenset(own)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Restore the request and pass it on; 400 if its host is missing or ambiguous."""
        if scope["type"] == "http":
            refusal = _bad_host(scope)
            if refusal is not None:
                await render(Invalid(refusal))(scope, receive, send)
                return
            self._restore(scope)
        await self.app(scope, receive, send)

    def _restore(self, scope: Scope) -> None:
        headers, site = Headers(scope=scope), self._site
        if passed_on(headers):
            # Some, as nginx, take any interim response but 100 for the final one.
            scope.get("extensions", {}).pop(INTERIM, None)
        peer = scope["client"][0] if scope.get("client") else None
        said = told(headers, site.trust) if peer in site.trust else Told()
        if said.client is not None:
            scope["client"] = (said.client, 0)
        scheme, host = site.origin or (said.scheme, said.host)
        scope["scheme"] = scheme or scope["scheme"]
        scope[ASKED] = headers.get("host")
        if host is not None and host != scope[ASKED]:
            MutableHeaders(scope=scope)["host"] = host
        root = site.root or said.prefix
        if root:
            self._rooted(scope, root)

    def _rooted(self, scope: Scope, root: str) -> None:
        """Prepend *root*, unless the proxy left it in the path.

        A path that begins with it was not stripped, unless paths of the hub begin so, too.
        """
        path: str = scope["path"]
        whole = path == root or path.startswith(f"{root}/")
        if not whole or root.split("/")[1] in self._own:
            path = root + path
        scope["root_path"], scope["path"] = root, path
        answer_below(root)


def _bad_host(scope: Scope) -> str | None:
    """The fault in the request's version or ``Host`` (RFC 9112 §2.3, §3.2); None if fine."""
    if scope["http_version"] == "0.9":
        return "The request line must end with a version such as HTTP/1.1."
    hosts = Headers(scope=scope).getlist("host")
    if len(hosts) > 1:
        return "The request has more than one Host field."
    if not hosts and scope["http_version"] == "1.1":
        return "The request has no Host field."
    if hosts and hosts[0] and not HOST.fullmatch(hosts[0]):
        return "The Host field is not a valid host name or address."
    return None
