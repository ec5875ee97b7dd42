"""Reads credentials from a request; the hub authenticates them."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import Depends, FastAPI, Request, Response, Security
from fastapi.openapi.models import HTTPBearer
from fastapi.security.base import SecurityBase

from dsx.core.asking import asked_by
from dsx.core.errors import Denied, Unauthenticated
from dsx.core.principals import Principal, Token
from dsx.http.public import cookie_path, is_here
from dsx.hub.accounts.authentication import Credential
from dsx.hub.accounts.sign_in_limits import DEVICE_SECONDS
from dsx.hub.hub import Hub

SESSION_COOKIE = "dsx_session"
DEVICE_COOKIE = "dsx_device"
_SCHEMES = {"bearer", "jwt", "token"}
_SAFE = {"GET", "HEAD", "OPTIONS"}
_OURS = {"same-origin", "none"}  # `none`: typed into the address bar

# Coroutines, though they await nothing: FastAPI runs plain functions in a worker thread.


async def get_hub(request: Request) -> Hub:
    """The hub this application serves."""
    hub: Hub = request.app.state.hub
    return hub


_OTHERS: dict[str, dict[str, str]] = {
    "Password": {
        "type": "http",
        "scheme": "basic",
        "description": "Name and password of an account.",
    },
    "Session": {"type": "apiKey", "in": "cookie", "name": SESSION_COOKIE},
}


class RequirePrincipal(SecurityBase):
    """A dependency that returns the caller's principal, and the security scheme in OpenAPI.

    Built on FastAPI's own, it would cost every request three dependencies that do nothing.
    """

    def __init__(self) -> None:
        told = "`Bearer X`, `JWT X` or just `X`: an API key, a token or a signed token."
        self.model = HTTPBearer(description=told)
        self.scheme_name = "Token"

    async def __call__(self, request: Request) -> Principal:
        """Authenticate the request's credential: see `credential_of`."""
        return await _identified(request, await get_hub(request), credential_of(request))


async def get_caller(
    request: Request,
    hub: Annotated[Hub, Depends(get_hub)],
) -> Principal | None:
    """Return the caller's principal, or None on routes that allow anonymous access."""
    credential = credential_of(request)
    if credential is None:
        return None
    return await _identified(request, hub, credential)


def document(app: FastAPI) -> None:
    """Add the other security schemes to OpenAPI, wherever it lists one."""
    describe = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema:
            return app.openapi_schema
        schema = describe()
        schema["components"]["securitySchemes"] |= _OTHERS
        operations = [one for path in schema["paths"].values() for one in path.values()]
        for operation in operations:
            if "security" in operation:
                operation["security"] += [{name: []} for name in _OTHERS]
        return schema

    app.openapi = openapi  # type: ignore[method-assign]


def address_of(request: Request) -> str:
    """The client's address; empty if unknown."""
    return request.client.host if request.client else ""


def credential_of(request: Request) -> Credential | None:
    """Read ``Authorization``: ``Basic`` (RFC 7617), ``Bearer X`` (RFC 6750), ``JWT X`` or ``X``.

    Without it, the session cookie. Raises `Denied` if another site's page made the browser send
    the cookie.
    """
    header = request.headers.get("authorization", "").strip()
    if header:
        return _spelled(header, device_shown(request))
    cookie = request.cookies.get(SESSION_COOKIE)
    if not cookie:
        return None
    if request.method not in _SAFE and not _from_our_page(request):
        raise Denied("Session cookies are accepted only in requests from the hub's own pages.")
    return Credential(cookie, cookie=True)


def keep_session(request: Request, response: Response, token: Token, secret: str) -> None:
    """Set the session cookie, which scripts cannot read."""
    assert token.expires is not None
    seconds = (token.expires - token.created) // 1_000_000
    keep_cookie(request, response, Cookie(SESSION_COOKIE, secret, seconds, cookie_path(request)))


def device_shown(request: Request) -> str:
    """The value of the device cookie, set at an earlier sign-in; empty if absent."""
    return request.cookies.get(DEVICE_COOKIE, "")


def keep_device(request: Request, response: Response, hub: Hub, subject: str) -> None:
    """Set the cookie that identifies the browser to *subject*, an account or a link."""
    sealed = hub.accounts.sign_in_limits.device_of(subject, device_shown(request))
    if sealed is not None:
        path = cookie_path(request)
        keep_cookie(request, response, Cookie(DEVICE_COOKIE, sealed, DEVICE_SECONDS, path))


def forget_session(request: Request, response: Response) -> None:
    """Delete the cookie set by `keep_session`."""
    forget_cookie(response, SESSION_COOKIE, cookie_path(request))


@dataclass(frozen=True, slots=True)
class Cookie:
    """A cookie that lasts ``seconds`` and is sent with requests below ``path``."""

    name: str
    value: str
    seconds: int
    path: str


def keep_cookie(request: Request, response: Response, cookie: Cookie) -> None:
    """Set *cookie*: unreadable by scripts, and secure if the request was."""
    response.set_cookie(
        cookie.name,
        cookie.value,
        max_age=cookie.seconds,
        path=cookie.path,
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="lax",
    )


def forget_cookie(response: Response, name: str, path: str) -> None:
    """Delete a cookie set by `keep_cookie`."""
    response.delete_cookie(name, path=path, httponly=True, samesite="lax")


async def _identified(request: Request, hub: Hub, credential: Credential | None) -> Principal:
    known: Principal | None = getattr(request.state, "principal", None)
    if known is not None:  # routes with a body authenticate before they read it
        return known
    principal = await hub.accounts.authenticator.authenticate(credential, address_of(request))
    request.state.principal = principal
    asked_by(principal.id)
    return principal


def _spelled(header: str, device: str) -> Credential:
    scheme, _, parameter = header.partition(" ")
    if scheme.lower() == "basic":
        return _basic_credential(parameter.strip(), device)
    if scheme.lower() in _SCHEMES and parameter.strip():
        return Credential(parameter.strip())
    return Credential(header)


def _basic_credential(parameter: str, device: str) -> Credential:
    try:
        text = base64.b64decode(parameter, validate=True).decode()
    except ValueError:
        raise Unauthenticated("The Basic credential must be Base64 of 'name:password'.") from None
    user, _, password = text.partition(":")
    return Credential(password, user=user, device=device)


def same_site(request: Request) -> None:
    """Raise `Denied` if another site's page made the browser send the request."""
    told = "sec-fetch-site" in request.headers or "origin" in request.headers
    if told and not _from_our_page(request):
        raise Denied("Sign in from the hub's own pages.")


def _from_our_page(request: Request) -> bool:
    """Whether the request is same-origin, by Fetch Metadata or else Origin (RFC 6454)."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site in _OURS
    origin = request.headers.get("origin")
    try:
        return origin is not None and is_here(request, urlsplit(origin))
    except ValueError:  # brackets without an address
        return False


async def not_kept(response: Response) -> None:
    """Forbid browsers and proxies to store the response: it may contain a secret."""
    response.headers["Cache-Control"] = "no-store"


HubDep = Annotated[Hub, Depends(get_hub)]
PrincipalDep = Annotated[Principal, Security(RequirePrincipal())]
NotKept = Depends(not_kept)
CallerDep = Annotated[Principal | None, Depends(get_caller)]
