"""Where clients find this server: the one source of its URLs, behind proxies too.

A request's scope has the scheme, the host and the path that the client used: `dsx.http.proxies`
sees to that.
"""

from __future__ import annotations

from contextvars import ContextVar
from urllib.parse import SplitResult

from starlette.requests import Request

ASKED = "dsx.asked_host"
"""Where the scope has the ``Host`` that came, if a proxy or a setting says that it is another."""
_ROOT: ContextVar[str] = ContextVar("root", default="")
_PORTS = {"http": 80, "https": 443}


def url_of(request: Request, path: str) -> str:
    """The URL of *path*, which begins with a slash, as clients call it.

    Only a path if the client did not tell which host it wants (HTTP/1.0).
    """
    host, path = request.headers.get("host"), path_of(request, path)
    return f"{request.scope['scheme']}://{host}{path}" if host else path


def path_of(request: Request, path: str) -> str:
    """*path* of the hub as a path of the site, which may have the hub below a path of its own."""
    return root_of(request) + path


def here(path: str) -> str:
    """`path_of` for the request that is being answered, where that is not at hand."""
    return _ROOT.get() + path


def answer_below(root: str) -> None:
    """Note the path below which the request at hand finds the hub: see `here`."""
    _ROOT.set(root)


def root_of(request: Request) -> str:
    """The path below which the hub is, as ``/hub``; empty: at the top."""
    scope = request.scope
    root: str = scope.get("app_root_path", scope.get("root_path", ""))
    return root


def cookie_path(request: Request) -> str:
    """The path below which browsers are to show the hub's cookies."""
    return root_of(request) or "/"


def is_here(request: Request, url: SplitResult) -> bool:
    """Whether *url* is of this server, by a name that the client or a proxy called it."""
    hosts = {request.headers.get("host"), request.scope.get(ASKED)}
    return url.scheme in _PORTS and _bare(url.scheme, url.netloc) in {
        _bare(url.scheme, host) for host in hosts if host
    }


def _bare(scheme: str, host: str) -> str:
    """*host* in lower case, without a port that goes without saying."""
    return host.lower().removesuffix(f":{_PORTS[scheme]}")
