"""``/api/v1/shares``: give one user, or anyone with a link, read access."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Request

from dsx.core.errors import Invalid
from dsx.http.credentials import HubDep, NotKept, PrincipalDep
from dsx.http.prefix_router import PrefixRouter
from dsx.http.problems import documented
from dsx.http.public import url_of
from dsx.protocols.rest.account_models import Id, MadeShare, NewShare, Share, ShareList

router = PrefixRouter(prefix="/shares", tags=["shares"], dependencies=[NotKept])


@router.post("", status_code=201, summary="Share", responses=documented(403, 404))
async def create_share(
    new: NewShare, request: Request, hub: HubDep, principal: PrincipalDep
) -> MadeShare:
    """Share a file, category, prefix or dataset with `user` or, without one, by a link.

    Shares are read-only. Files added to a shared category later are shared, too.
    """
    place = new.place.place()
    if new.user is not None:
        if new.password is not None or new.downloads is not None:
            raise Invalid("A share with a user takes no password and no downloads: omit them.")
        share = await hub.accounts.shares.with_user(principal, place, new.user, seconds=new.seconds)
        return MadeShare(**Share.of(share).model_dump())
    share, secret = await hub.accounts.shares.by_link(
        principal,
        place,
        seconds=new.seconds,
        password=new.password,
        downloads=new.downloads,
    )
    url = url_of(request, f"/s/{secret}")
    return MadeShare(**Share.of(share).model_dump(), url=url)


@router.get("", summary="List shares", responses=documented(403))
async def list_shares(
    hub: HubDep,
    principal: PrincipalDep,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    after: Annotated[str, Query(max_length=64)] = "",
) -> ShareList:
    """List your shares, oldest first."""
    found = await hub.accounts.shares.list(principal, after=after, limit=limit)
    following = found[-1][0].id if len(found) == limit else None
    return ShareList(items=[Share.of(*one) for one in found], next=following)


@router.get("/received", summary="List what is shared with me", responses=documented(403))
async def list_received(hub: HubDep, principal: PrincipalDep) -> ShareList:
    """List what others share with you. Read it with `GET /api/v1/files?owner=NAME`."""
    found = await hub.accounts.shares.received(principal)
    return ShareList(items=[Share.of(*one) for one in found])


@router.delete("/{id}", status_code=204, summary="End a share", responses=documented(403, 404))
async def end_share(id: Id, hub: HubDep, principal: PrincipalDep) -> None:  # noqa: A002
    """Revoke a share; it stops working immediately."""
    await hub.accounts.shares.end(principal, id)
