"""A request as it was before a proxy passed it on: scheme, host, path, address of the client.

The middleware puts that into the scope, so that the rest of the server need not know of proxies.
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
from dsx.transport.protocol import INTERIM


@dataclass(frozen=True, slots=True)
class Site:
    """What the operator has set.

    Attributes:
        origin: scheme and host of all URLs; None: those the client used.
        root: path below which the hub is, as ``/hub``; empty: at the top.
        trust: the proxies whose word counts.
    """

    origin: tuple[str, str] | None
    root: str
    trust: Trust

    @classmethod
    def of(cls, public_url: str, root_path: str, proxies: Collection[str]) -> Self:
        """As the settings say, which have been checked."""
        parts = urlsplit(public_url)
        origin = (parts.scheme, parts.netloc) if public_url else None
        return cls(origin, parts.path.rstrip("/") or root_path, Trust.of(tuple(proxies)))


def first_parts(paths: Iterable[str]) -> set[str]:
    """What *paths* begin with, up to their second slash."""
    return {path.split("/")[1] for path in paths if path.startswith("/")}


class Proxies:
    """ASGI middleware: see the module."""

    def __init__(self, app: ASGIApp, site: Site, own: Collection[str]) -> None:
        """*own*: the first parts of all paths of the hub; see `_rooted`."""
        self.app = app
        self._site = site
        self._own = frozenset(own)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on as it was where it began; 400 unless it is clear for which host."""
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
            # Some take any interim response but 100 for the final one, as nginx does.
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
        """Have the path begin with *root*, from which a proxy may have stripped it.

        One that begins so was not stripped, unless that is how paths of the hub itself begin.
        """
        path: str = scope["path"]
        whole = path == root or path.startswith(f"{root}/")
        if not whole or root.split("/")[1] in self._own:
            path = root + path
        scope["root_path"], scope["path"] = root, path
        answer_below(root)


def _bad_host(scope: Scope) -> str | None:
    """What is wrong with the request's version or ``Host`` (RFC 9112 §2.3, §3.2)."""
    if scope["http_version"] == "0.9":
        return "The request line does not end with a version, as HTTP/1.1."
    hosts = Headers(scope=scope).getlist("host")
    if len(hosts) > 1:
        return "There is more than one Host."
    if not hosts and scope["http_version"] == "1.1":
        return "There is no Host, which says for whom the request is."
    if hosts and hosts[0] and not HOST.fullmatch(hosts[0]):
        return "Host is not the name or address of a host."
    return None
