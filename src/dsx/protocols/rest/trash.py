"""``/api/v1/trash``: deleted files, until they are restored or purged."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Query, Response

from dsx.http.credentials import HubDep, PrincipalDep
from dsx.http.listing import listing
from dsx.http.prefix_router import PrefixRouter
from dsx.http.problems import documented
from dsx.protocols.rest.models import File, FileId, FilePage, Purged, Restore

router = PrefixRouter(prefix="/trash", tags=["trash"])

_EMPTYING = documented(409, 410)
_EMPTYING[202] = {"model": Purged, "description": "The purge continues: see the task."}
_PATIENCE = 5.0
"""Seconds to wait for the trash to be empty before responding."""


@router.get("", summary="List the trash", response_model=FilePage)
async def list_trash(
    hub: HubDep,
    principal: PrincipalDep,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[str | None, Query(max_length=4096)] = None,
) -> Response:
    """List deleted files by their newest version, last deleted first, with their expiry."""
    page = await hub.trash.list(principal, limit=limit, cursor=cursor)
    return await listing(page.items, File.of, next=page.next)


@router.post("/{id}/restore", summary="Restore a file", responses=documented(404, 409))
async def restore_file(
    id: FileId,  # noqa: A002
    hub: HubDep,
    principal: PrincipalDep,
    how: Restore | None = None,
) -> File:
    """Restore everything deleted together, under its old name or a new one.

    The id of an older version, or `version`, restores that version alone.
    """
    how = how or Restore()
    restored = await hub.trash.restore(principal, id, name=how.name, number=how.version)
    return File.of(restored)


@router.delete("/{id}", status_code=204, summary="Purge a file", responses=documented(404))
async def purge_file(id: FileId, hub: HubDep, principal: PrincipalDep) -> None:  # noqa: A002
    """Purge everything deleted together; the id of an older version purges that one alone."""
    await hub.trash.purge(principal, id)


@router.delete(
    "",
    summary="Empty the trash",
    responses=_EMPTYING,
)
async def empty_trash(
    *,
    response: Response,
    hub: HubDep,
    principal: PrincipalDep,
    confirm: Annotated[Literal["all"], Query()],
) -> Purged:
    """Purge everything in the trash; `confirm=all` is required.

    If it takes long, the response is 202 with the task that continues it. Repeating the request
    is safe: it waits for the same task.
    """
    _ = confirm
    task = await hub.transfers.tasks.empty_trash(principal, _PATIENCE)
    if task.state == "completed":
        return Purged(purged=task.done)
    response.status_code = 202
    response.headers["Location"] = f"/api/v1/tasks/{task.id}"
    return Purged(purged=task.done, task=task.id)
