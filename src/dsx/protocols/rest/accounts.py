"""``/api/v1/users``, ``/invites``, ``/account``, ``/audit``: accounts and their actions."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Query, Request
from starlette.responses import JSONResponse

from dsx.http.credentials import CallerDep, HubDep, NotKept, PrincipalDep, address_of
from dsx.http.prefix_router import PrefixRouter
from dsx.http.problems import documented
from dsx.hub.accounts.users import UserChanges
from dsx.protocols.rest.account_models import (
    AuditLog,
    Departure,
    Entry,
    MadeToken,
    Me,
    NewInvite,
    SignUp,
    UsageModel,
    User,
    UserList,
    UserName,
    UserPatch,
)

router = PrefixRouter(tags=["accounts"], dependencies=[NotKept])


@router.post(
    "/users",
    status_code=201,
    summary="Create an account",
    responses=documented(403, 409, 429),
)
async def create_user(new: SignUp, request: Request, hub: HubDep, caller: CallerDep) -> User:
    """Sign up, if sign-up is open or with an invitation. Admins may always create accounts."""
    user = await hub.accounts.users.sign_up(
        new.username,
        new.password,
        by=caller,
        invite=new.invite,
        role=new.role,
        address=address_of(request),
    )
    return User.of(user)


@router.get("/users", summary="List accounts", responses=documented(403))
async def list_users(
    hub: HubDep,
    principal: PrincipalDep,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    after: Annotated[int, Query(ge=0, le=(1 << 62) - 1)] = 0,
) -> UserList:
    """List all accounts, ordered by number. Admins only."""
    found = await hub.accounts.users.list(principal, after=after, limit=limit)
    following = found[-1].number if len(found) == limit else None
    return UserList(items=[User.of(user) for user in found], next=following)


@router.get("/users/{name}", summary="Read an account", responses=documented(403, 404))
async def get_user(name: UserName, hub: HubDep, principal: PrincipalDep) -> User:
    """Return your own account; admins may read any."""
    return User.of(await hub.accounts.users.get(principal, name))


@router.patch("/users/{name}", summary="Change an account", responses=documented(403, 404, 429))
async def patch_user(
    name: UserName, changes: UserPatch, hub: HubDep, principal: PrincipalDep
) -> User:
    """Change your own password, giving the current one. Admins may change any account.

    A new password or role ends the account's sessions and signed tokens. A disabled account cannot
    do anything; its files stay.
    """
    wanted = UserChanges(**changes.model_dump(exclude={"current_password"}))
    current = changes.current_password
    return User.of(await hub.accounts.users.change(principal, name, wanted, current=current))


@router.delete("/users/{name}", summary="Delete an account", responses=documented(403, 404, 409))
async def delete_user(
    name: UserName,
    hub: HubDep,
    principal: PrincipalDep,
    heir: Annotated[
        str | None,
        Query(max_length=64, description="Account that receives its files; default: the trash."),
    ] = None,
    days: Annotated[
        float | None,
        Query(ge=0, le=3660, description="Days in the trash; default: as for any file."),
    ] = None,
) -> Departure:
    """Delete an account with its tokens, sessions, shares, uploads and tasks. Admins only.

    Its files go to the heir, under their own names or, where those are taken, below the account's
    name. Without an heir they go to the trash of the hub's API key and are later purged.
    """
    return Departure.of(await hub.departures.delete(principal, name, heir=heir, days=days))


@router.post(
    "/invites", status_code=201, summary="Create an invitation", responses=documented(403, 409)
)
async def create_invite(
    hub: HubDep, principal: PrincipalDep, new: NewInvite | None = None
) -> MadeToken:
    """Create an invitation that is valid for one sign-up. Admins only.

    409 if sign-up is closed, as the invitation could not be used.
    """
    new = new or NewInvite()
    token, secret = await hub.accounts.tokens.invite(principal, new.role, new.seconds)
    return MadeToken.made(token, secret)


@router.get("/account", summary="Who am I?", response_model=Me)
async def get_account(principal: PrincipalDep) -> JSONResponse:
    """Return the account of your credential and what the credential permits."""
    return JSONResponse(Me.of(principal).model_dump(), headers={"Cache-Control": "no-store"})


@router.get("/account/usage", summary="Read my storage usage", responses=documented(403))
async def get_usage(hub: HubDep, principal: PrincipalDep) -> UsageModel:
    """Return the bytes and files in your space, and your quotas."""
    return UsageModel.of(await hub.accounts.users.usage(principal))


@router.get("/audit", summary="Read the audit log", responses=documented(403, 404))
async def list_audit(
    *,
    hub: HubDep,
    principal: PrincipalDep,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    before: Annotated[int | None, Query(ge=0, le=(1 << 62) - 1)] = None,
    user: Annotated[
        str | None, Query(max_length=64, description="Only actions of this user.")
    ] = None,
    outcome: Literal["done", "refused"] | None = None,
) -> AuditLog:
    """List changes and refused attempts, newest first. Admins see all, others their own."""
    found = await hub.accounts.audit.list(
        principal, before=before, limit=limit, user=user, outcome=outcome
    )
    following = found[-1].number if len(found) == limit else None
    return AuditLog(items=[Entry.of(event) for event in found], next=following)
