"""``/api/v1/trash``: deleted files, until they are restored or dropped."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Query

from dsx.http.branches import Branch
from dsx.http.credentials import HubDep, PrincipalDep
from dsx.http.problems import documented
from dsx.protocols.rest.models import File, FileId, FilePage, Purged, Restore

router = Branch(prefix="/trash", tags=["trash"])


@router.get("", summary="List the trash")
async def list_trash(
    hub: HubDep,
    principal: PrincipalDep,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[str | None, Query(max_length=4096)] = None,
) -> FilePage:
    """Deleted files, latest deletion first, each with the time it will be dropped."""
    page = await hub.trash.list(principal, limit=limit, cursor=cursor)
    return FilePage(items=[File.of(item) for item in page.items], next=page.next)


@router.post("/{id}/restore", summary="Restore a file", responses=documented(404, 409))
async def restore_file(
    id: FileId,  # noqa: A002
    hub: HubDep,
    principal: PrincipalDep,
    how: Restore | None = None,
) -> File:
    """Bring the file back with all its versions, under its old name or a new one."""
    name = how.name if how else None
    return File.of(await hub.trash.restore(principal, id, name=name))


@router.delete("/{id}", status_code=204, summary="Purge a file", responses=documented(404))
async def purge_file(id: FileId, hub: HubDep, principal: PrincipalDep) -> None:  # noqa: A002
    """Drop the file and all its versions for good."""
    await hub.trash.purge(principal, id)


@router.delete("", summary="Empty the trash")
async def empty_trash(
    hub: HubDep, principal: PrincipalDep, confirm: Annotated[Literal["all"], Query()]
) -> Purged:
    """Drop everything in the trash for good; `confirm=all` says you mean it."""
    _ = confirm
    return Purged(purged=await hub.trash.empty(principal))
