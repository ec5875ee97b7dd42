"""``/api/v1/session/oidc``: sign a browser in with an account at an OpenID Provider."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Request
from fastapi.responses import RedirectResponse

from dsx.core.errors import NotFound
from dsx.http.credentials import (
    Cookie,
    HubDep,
    address_of,
    forget_cookie,
    keep_cookie,
    keep_session,
)
from dsx.http.parameters import ignores_unknown
from dsx.http.prefix_router import PrefixRouter
from dsx.http.problems import documented
from dsx.http.public import path_of, root_of, url_of
from dsx.hub.accounts.oidc_sign_in import PATIENCE, OidcSignIn
from dsx.hub.hub import Hub

PATH = "/session/oidc"
COOKIE = "dsx_oidc"
_LONGEST = 4096

router = PrefixRouter(prefix=PATH, tags=["accounts"])
Told = Annotated[str | None, Query(max_length=_LONGEST)]


@router.get(
    "",
    status_code=302,
    response_class=RedirectResponse,
    summary="Sign in with OpenID Connect",
    responses=documented(404),
)
async def begin_oidc(
    request: Request,
    hub: HubDep,
    next: Annotated[  # noqa: A002
        str, Query(max_length=1024, description="Path on this site to redirect to afterwards.")
    ] = "/",
) -> RedirectResponse:
    """Redirect the browser to the configured OpenID Provider; 404 if none is configured."""
    own = request.url.path.removeprefix(root_of(request)).rstrip("/")
    url, kept = await _oidc(hub).begin(url_of(request, f"{own}/callback"), next)
    response = _redirect(url)
    keep_cookie(request, response, Cookie(COOKIE, kept, PATIENCE, request.url.path))
    return response


@router.get(
    "/callback",
    status_code=302,
    response_class=RedirectResponse,
    summary="Finish signing in with OpenID Connect",
    responses=documented(403, 404),
)
@ignores_unknown  # RFC 6749 §4.1.2: unrecognized parameters of the provider are ignored
async def finish_oidc(
    *,
    request: Request,
    hub: HubDep,
    code: Told = None,
    state: Told = None,
    error: Told = None,
    iss: Told = None,
) -> RedirectResponse:
    """Handle the provider's redirect: open a session, then redirect to `next`.

    The first sign-in creates an account, unless sign-up is closed.
    """
    told = {"code": code, "state": state, "error": error, "iss": iss}
    answer = {name: value for name, value in told.items() if value is not None}
    user, then = await _oidc(hub).finish(
        request.cookies.get(COOKIE), answer, address=address_of(request)
    )
    response = _redirect(_within(request, then))
    token, secret = await hub.accounts.tokens.open_session(user, address=address_of(request))
    keep_session(request, response, token, secret)
    forget_cookie(response, COOKIE, request.url.path.removesuffix("/callback"))
    return response


def _within(request: Request, path: str) -> str:
    """*path*, moved below the hub's root path unless it already is."""
    root = root_of(request)
    return path if path == root or path.startswith(f"{root}/") else path_of(request, path)


def _oidc(hub: Hub) -> OidcSignIn:
    if hub.accounts.oidc is None:
        raise NotFound("OpenID Connect sign-in is not configured.")
    return hub.accounts.oidc


def _redirect(url: str) -> RedirectResponse:
    return RedirectResponse(url, 302, {"Cache-Control": "no-store"})
