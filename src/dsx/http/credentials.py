"""Reads who is asking out of a request; the hub decides what that is worth."""

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
        "description": "An account's name and password.",
    },
    "Session": {"type": "apiKey", "in": "cookie", "name": SESSION_COOKIE},
}


class RequirePrincipal(SecurityBase):
    """A dependency: who is asking. It is what OpenAPI tells of security, too.

    One that depended on FastAPI's own would cost every request three that do nothing.
    """

    def __init__(self) -> None:
        told = "`Bearer X`, `JWT X` or `X` alone: an API key, a token, a signed token."
        self.model = HTTPBearer(description=told)
        self.scheme_name = "Token"

    async def __call__(self, request: Request) -> Principal:
        """By ``Authorization`` (RFC 9110 §11.6.2) or a session's cookie: see `credential_of`."""
        return await _identified(request, await get_hub(request), credential_of(request))


async def get_caller(
    request: Request,
    hub: Annotated[Hub, Depends(get_hub)],
) -> Principal | None:
    """Who is asking; None if the request shows nothing, on routes that are open to nobody, too."""
    credential = credential_of(request)
    if credential is None:
        return None
    return await _identified(request, hub, credential)


def document(app: FastAPI) -> None:
    """Have OpenAPI tell of the other ways to show who is asking, wherever it tells of one."""
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
    """Where the request came from."""
    return request.client.host if request.client else ""


def credential_of(request: Request) -> Credential | None:
    """What the request shows: ``Basic`` (RFC 7617), ``Bearer X`` (RFC 6750), ``JWT X`` or ``X``.

    Without any of these, a session's cookie; `Denied` if another site's page made the browser
    send it.
    """
    header = request.headers.get("authorization", "").strip()
    if header:
        return _spelled(header, device_shown(request))
    cookie = request.cookies.get(SESSION_COOKIE)
    if not cookie:
        return None
    if request.method not in _SAFE and not _from_our_page(request):
        raise Denied("A session's cookie counts only in requests from the hub's own pages.")
    return Credential(cookie, cookie=True)


def keep_session(request: Request, response: Response, token: Token, secret: str) -> None:
    """Have the browser show *secret* from now on, and no script of a page read it."""
    assert token.expires is not None
    seconds = (token.expires - token.created) // 1_000_000
    keep_cookie(request, response, Cookie(SESSION_COOKIE, secret, seconds, cookie_path(request)))


def device_shown(request: Request) -> str:
    """What the browser shows that has signed in before; empty: nothing."""
    return request.cookies.get(DEVICE_COOKIE, "")


def keep_device(request: Request, response: Response, hub: Hub, subject: str) -> None:
    """Have the browser be known for *subject*, an account or a link, the next time."""
    sealed = hub.accounts.sign_in_limits.device_of(subject, device_shown(request))
    if sealed is not None:
        path = cookie_path(request)
        keep_cookie(request, response, Cookie(DEVICE_COOKIE, sealed, DEVICE_SECONDS, path))


def forget_session(request: Request, response: Response) -> None:
    """Have the browser forget what `keep_session` gave it."""
    forget_cookie(response, SESSION_COOKIE, cookie_path(request))


@dataclass(frozen=True, slots=True)
class Cookie:
    """What a browser is to show, for so many ``seconds``, with requests for what is in ``path``."""

    name: str
    value: str
    seconds: int
    path: str


def keep_cookie(request: Request, response: Response, cookie: Cookie) -> None:
    """Have the browser keep *cookie*: no script reads it, and it travels as safely as it came."""
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
    """Have the browser forget what `keep_cookie` gave it."""
    response.delete_cookie(name, path=path, httponly=True, samesite="lax")


async def _identified(request: Request, hub: Hub, credential: Credential | None) -> Principal:
    known: Principal | None = getattr(request.state, "principal", None)
    if known is not None:  # a route that takes a body asks before it reads
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
        raise Unauthenticated("The Basic credential is not Base64 of 'name:password'.") from None
    user, _, password = text.partition(":")
    return Credential(password, user=user, device=device)


def same_site(request: Request) -> None:
    """Raise `Denied` if another site's page made the browser send this."""
    told = "sec-fetch-site" in request.headers or "origin" in request.headers
    if told and not _from_our_page(request):
        raise Denied("Sign in from the hub's own pages.")


def _from_our_page(request: Request) -> bool:
    """Whether the browser says so: Fetch Metadata, or else Origin (RFC 6454)."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site in _OURS
    origin = request.headers.get("origin")
    try:
        return origin is not None and is_here(request, urlsplit(origin))
    except ValueError:  # brackets that hold no address
        return False


async def not_kept(response: Response) -> None:
    """Tell browsers and proxies to keep nothing of the answer: there may be a secret in it."""
    response.headers["Cache-Control"] = "no-store"


HubDep = Annotated[Hub, Depends(get_hub)]
PrincipalDep = Annotated[Principal, Security(RequirePrincipal())]
NotKept = Depends(not_kept)
CallerDep = Annotated[Principal | None, Depends(get_caller)]
