"""Builds the server's public URLs, behind proxies too.

`dsx.http.proxies` sets the scope's scheme, host and path to those that the client used.
"""

from __future__ import annotations

from contextvars import ContextVar
from urllib.parse import SplitResult

from starlette.requests import Request

ASKED = "dsx.asked_host"
"""Scope key of the ``Host`` as received, which a proxy or a setting may override."""
_ROOT: ContextVar[str] = ContextVar("root", default="")
_PORTS = {"http": 80, "https": 443}


def url_of(request: Request, path: str) -> str:
    """Return the public URL of *path*, which begins with a slash.

    Without a ``Host`` (HTTP/1.0) it is only a path.
    """
    host, path = request.headers.get("host"), path_of(request, path)
    return f"{request.scope['scheme']}://{host}{path}" if host else path


def path_of(request: Request, path: str) -> str:
    """Return the hub's *path* as a path of the site, with the root path prepended."""
    return root_of(request) + path


def here(path: str) -> str:
    """`path_of` for the current request, where its object is not available."""
    return _ROOT.get() + path


def answer_below(root: str) -> None:
    """Set the root path of the current request for `here`."""
    _ROOT.set(root)


def root_of(request: Request) -> str:
    """The hub's root path, as ``/hub``; empty: none."""
    scope = request.scope
    root: str = scope.get("app_root_path", scope.get("root_path", ""))
    return root


def cookie_path(request: Request) -> str:
    """The path attribute of the hub's cookies."""
    return root_of(request) or "/"


def is_here(request: Request, url: SplitResult) -> bool:
    """Whether *url* is this server's, under the host used by the client or by a proxy."""
    hosts = {request.headers.get("host"), request.scope.get(ASKED)}
    return url.scheme in _PORTS and _bare(url.scheme, url.netloc) in {
        _bare(url.scheme, host) for host in hosts if host
    }


def _bare(scheme: str, host: str) -> str:
    """*host* in lower case, without a default port."""
    return host.lower().removesuffix(f":{_PORTS[scheme]}")
