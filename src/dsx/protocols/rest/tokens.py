"""``/api/v1/tokens`` and ``/api/v1/session``: tokens and browser sessions."""

from __future__ import annotations

from fastapi import Request, Response

from dsx.http.credentials import (
    HubDep,
    NotKept,
    PrincipalDep,
    address_of,
    device_shown,
    forget_session,
    keep_device,
    keep_session,
    same_site,
)
from dsx.http.prefix_router import PrefixRouter
from dsx.http.problems import documented
from dsx.protocols.rest.account_models import (
    Id,
    MadeToken,
    NewToken,
    SignIn,
    Token,
    TokenList,
    User,
)

router = PrefixRouter(tags=["accounts"], dependencies=[NotKept])


@router.post("/tokens", status_code=201, summary="Create a token", responses=documented(403))
async def create_token(
    hub: HubDep, principal: PrincipalDep, new: NewToken | None = None
) -> MadeToken:
    """Create a credential for a program, limited in scopes, places and lifetime.

    The secret is returned only in this response.
    """
    new = new or NewToken()
    places = None if new.places is None else [place.place() for place in new.places]
    token, secret = await hub.accounts.tokens.create(
        principal, new.name, new.scopes, places=places, seconds=new.seconds
    )
    return MadeToken.made(token, secret)


@router.get("/tokens", summary="List tokens", responses=documented(403))
async def list_tokens(hub: HubDep, principal: PrincipalDep) -> TokenList:
    """List your tokens, oldest first, with the time of last use."""
    return TokenList(items=[Token.of(token) for token in await hub.accounts.tokens.list(principal)])


@router.delete(
    "/tokens/{id}", status_code=204, summary="Revoke a token", responses=documented(403, 404)
)
async def revoke_token(id: Id, hub: HubDep, principal: PrincipalDep) -> None:  # noqa: A002
    """Revoke a token or a session, immediately and on all servers."""
    await hub.accounts.tokens.revoke(principal, id)


@router.post(
    "/session", status_code=201, summary="Sign in a browser", responses=documented(403, 429)
)
async def open_session(who: SignIn, request: Request, response: Response, hub: HubDep) -> User:
    """Exchange name and password for a cookie that scripts cannot read.

    It is accepted only in requests that the browser marks as coming from the hub's own pages.
    """
    same_site(request)
    user = await hub.accounts.users.sign_in(
        who.username, who.password, address=address_of(request), device=device_shown(request)
    )
    token, secret = await hub.accounts.tokens.open_session(user, address=address_of(request))
    keep_session(request, response, token, secret)
    keep_device(request, response, hub, user.id)
    return User.of(user)


@router.delete("/session", status_code=204, summary="Sign out", responses=documented(403, 404))
async def close_session(
    request: Request, response: Response, hub: HubDep, principal: PrincipalDep
) -> None:
    """End the session whose cookie the request carries."""
    forget_session(request, response)
    await hub.accounts.tokens.close_session(principal)
