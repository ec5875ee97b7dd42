"""Reads who is asking out of a request; `dsx.hub.identity` decides what that is worth."""

from __future__ import annotations

import base64
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyCookie, HTTPBearer
from fastapi.security.http import HTTPBase

from dsx.core.errors import Denied, Unauthenticated
from dsx.core.principals import Principal
from dsx.hub.identity import Credential
from dsx.hub.services import Hub

SESSION_COOKIE = "dsx_session"
_SCHEMES = {"bearer", "jwt", "token"}
_SAFE = {"GET", "HEAD", "OPTIONS"}
_OURS = {"same-origin", "none"}  # `none`: typed into the address bar

# Coroutines, though they await nothing: FastAPI runs plain functions in a worker thread.


async def get_hub(request: Request) -> Hub:
    """The hub this application serves."""
    hub: Hub = request.app.state.hub
    return hub


_bearer = HTTPBearer(
    auto_error=False,
    scheme_name="Token",
    description="`Bearer X`, `JWT X` or the bare `X`: an API key, a token, a signed token.",
)
_basic = HTTPBase(
    scheme="basic",
    auto_error=False,
    scheme_name="Password",
    description="An account's name and password.",
)
_cookie = APIKeyCookie(name=SESSION_COOKIE, auto_error=False, scheme_name="Session")


async def get_caller(
    request: Request,
    hub: Annotated[Hub, Depends(get_hub)],
) -> Principal | None:
    """Who is asking; None if the request shows nothing, on routes that are open to nobody, too."""
    credential = credential_of(request)
    if credential is None:
        return None
    return await _identified(request, hub, credential)


async def get_principal(
    request: Request,
    hub: Annotated[Hub, Depends(get_hub)],
    _token: Annotated[object, Security(_bearer)],
    _password: Annotated[object, Security(_basic)],
    _session: Annotated[object, Security(_cookie)],
) -> Principal:
    """Who is asking, by the ``Authorization`` header (RFC 9110 §11.6.2) or a session's cookie.

    ``Basic`` (RFC 7617), ``Bearer X`` (RFC 6750), ``JWT X`` or ``X`` alone.
    """
    return await _identified(request, hub, credential_of(request))


def address_of(request: Request) -> str:
    """Where the request came from."""
    return request.client.host if request.client else ""


def credential_of(request: Request) -> Credential | None:
    """What the request shows; `Denied` if another site's page had the browser send its cookie."""
    header = request.headers.get("authorization", "").strip()
    if header:
        return _spelled(header)
    cookie = request.cookies.get(SESSION_COOKIE)
    if not cookie:
        return None
    if request.method not in _SAFE and not _from_our_page(request):
        raise Denied("A session's cookie counts only in requests from the hub's own pages.")
    return Credential(cookie, cookie=True)


async def _identified(request: Request, hub: Hub, credential: Credential | None) -> Principal:
    principal = await hub.identity.identify(credential, address_of(request))
    request.state.principal = principal
    return principal


def _spelled(header: str) -> Credential:
    scheme, _, parameter = header.partition(" ")
    if scheme.lower() == "basic":
        return _basic_credential(parameter.strip())
    if scheme.lower() in _SCHEMES and parameter.strip():
        return Credential(parameter.strip())
    return Credential(header)


def _basic_credential(parameter: str) -> Credential:
    try:
        text = base64.b64decode(parameter, validate=True).decode()
    except ValueError:
        raise Unauthenticated("The Basic credential is not Base64 of 'name:password'.") from None
    user, _, password = text.partition(":")
    return Credential(password, user=user)


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
    return origin is not None and urlsplit(origin).netloc == request.headers.get("host")


HubDep = Annotated[Hub, Depends(get_hub)]
PrincipalDep = Annotated[Principal, Depends(get_principal)]
CallerDep = Annotated[Principal | None, Depends(get_caller)]
