"""``/api/v1/tasks``: transfers that any connection can watch, pause, resume and abort."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Annotated, Any

from fastapi import Query, Request
from starlette.responses import Response, StreamingResponse

from dsx.core.errors import NotFound
from dsx.core.model import FileQuery
from dsx.core.principals import Principal
from dsx.core.shield import run_in_thread
from dsx.core.transfers import Task as TaskValue
from dsx.http.credentials import HubDep, PrincipalDep, credential_of
from dsx.http.prefix_router import PrefixRouter
from dsx.http.presence import present
from dsx.http.problems import documented
from dsx.http.send import DOWNLOADS, ContentResponse
from dsx.http.server_sent_events import Event, EventStream, Streams
from dsx.http.task_response import ControlledResponse
from dsx.hub.hub import Hub
from dsx.hub.transfers.task_changes import Seen
from dsx.protocols.rest.transfer_models import NewTask, Task, TaskId, TaskList

router = PrefixRouter(prefix="/tasks", tags=["tasks"])

_FEW = 20
"""Up to this many events are encoded on the event loop: a thread would cost more."""
_RESPONSES = DOWNLOADS | documented(404, 409, 410, 412, 413, 416)
_EVENTS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Server-sent events.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
}


@router.post("", status_code=201, summary="Begin a task", responses=documented(404))
async def create_task(
    request: Request, hub: HubDep, principal: PrincipalDep, new: NewTask | None = None
) -> Task:
    """Create a task for a transfer, which any connection can then control by the task's id."""
    new = new or NewTask()
    query = FileQuery(
        glob=new.glob, regex=new.regex, category=new.category, tags=tuple(new.tags), sort="created"
    )
    task = await hub.transfers.tasks.create(
        principal,
        new.kind,
        name=new.name,
        query=query,
        refs=tuple(new.ids),
        present=present(request),
    )
    return Task.of(task)


@router.get("", summary="List tasks")
async def list_tasks(
    *,
    hub: HubDep,
    principal: PrincipalDep,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    before: Annotated[str | None, Query(max_length=64, description="`next` of a page.")] = None,
    everyone: Annotated[bool, Query(description="Tasks of all owners. Admins only.")] = False,
) -> TaskList:
    """List tasks, newest first. An upload's task has the upload's id."""
    found, following = await hub.transfers.tasks.list(
        principal, before=before, limit=limit, everyone=everyone
    )
    return TaskList(items=[Task.of(task) for task in found], next=following)


@router.get(
    "/events",
    summary="Watch tasks",
    response_class=StreamingResponse,
    responses=_EVENTS | documented(404),
)
async def watch_tasks(
    request: Request,
    hub: HubDep,
    principal: PrincipalDep,
    id: Annotated[str | None, Query(max_length=64, description="Only this task.")] = None,  # noqa: A002
    seconds: Annotated[
        float | None,
        Query(gt=0, le=86400, description="Maximum duration; default: the hub's limit."),
    ] = None,
) -> StreamingResponse:
    """Stream an event `task` with a task's JSON for each task, then whenever one changes.

    The stream ends when its credential does, and after `DSX_EVENT_SECONDS`.
    """
    if id is None:
        await hub.transfers.tasks.list(principal, limit=1)  # raises before the response starts
    else:
        await hub.transfers.tasks.get(principal, id)
    longest = min(seconds or hub.event_seconds, hub.event_seconds)
    allowed = partial(hub.accounts.authenticator.stands, credential_of(request), principal)
    streams: Streams = request.app.state.streams
    news = _News(hub, principal, id)
    return EventStream(request, news, longest, allowed=allowed, streams=streams, owner=principal.id)


@router.get("/{id}", summary="Read a task", responses=documented(404))
async def get_task(id: TaskId, hub: HubDep, principal: PrincipalDep) -> Task:  # noqa: A002
    """Return a task's state and progress."""
    return Task.of(await hub.transfers.tasks.get(principal, id))


@router.post("/{id}/pause", summary="Pause", responses=documented(404, 409))
async def pause_task(id: TaskId, hub: HubDep, principal: PrincipalDep) -> Task:  # noqa: A002
    """Pause a transfer within a second, on whichever server it runs.

    Its request is held open for a while, then closed; the bytes received are kept.
    """
    return Task.of(await hub.transfers.tasks.pause(principal, id))


@router.post("/{id}/resume", summary="Resume", responses=documented(404, 409))
async def resume_task(id: TaskId, hub: HubDep, principal: PrincipalDep) -> Task:  # noqa: A002
    """Resume a transfer; if its request was closed, the client continues from the offset."""
    return Task.of(await hub.transfers.tasks.resume(principal, id))


@router.post("/{id}/abort", summary="Abort", responses=documented(404, 409, 410))
async def abort_task(id: TaskId, hub: HubDep, principal: PrincipalDep) -> Task:  # noqa: A002
    """Abort a transfer and drop its data within a second, on whichever server it runs.

    Admins may abort any task.
    """
    return Task.of(await hub.transfers.tasks.abort(principal, id))


@router.get(
    "/{id}/content",
    operation_id="download_task",
    summary="Download a task's files",
    response_class=Response,
    responses=_RESPONSES,
)
@router.head(
    "/{id}/content",
    operation_id="download_task_head",
    summary="Read the headers of a task's download",
    response_class=Response,
    responses=_RESPONSES,
)
async def download_task(
    id: TaskId,  # noqa: A002
    request: Request,
    hub: HubDep,
    principal: PrincipalDep,
) -> Response:
    """Download the task's files as a ZIP of known length; resume it with ranges."""
    content = await hub.transfers.tasks.content(principal, id, present(request))
    if request.method == "HEAD":  # transfers nothing
        return ContentResponse(request, content)
    return ControlledResponse(
        request, content, partial(hub.transfers.tasks.transfer, principal, id)
    )


@router.post("/{id}/delete", summary="Carry out a delete", responses=documented(404, 409, 410))
async def delete_task(id: TaskId, hub: HubDep, principal: PrincipalDep) -> Task:  # noqa: A002
    """Move the task's files to the trash, then respond. Repeat the request to continue."""
    return Task.of(await hub.transfers.tasks.delete(principal, id))


class _News:
    """Changes to a principal's tasks, or to the *wanted* one."""

    def __init__(self, hub: Hub, principal: Principal, wanted: str | None) -> None:
        self._hub = hub
        self._principal = principal
        self._wanted = wanted
        self._seen = Seen()
        self._last: int | None = None  # when the one changed

    @property
    def more(self) -> bool:
        """Whether more events may be available immediately."""
        return self._seen.more and self._wanted is None

    async def __call__(self) -> list[Event]:
        """The tasks changed since the last call, a few hundred at most."""
        if self._wanted is not None:
            return await self._of_one(self._wanted)
        new = await self._hub.transfers.tasks.changed(self._principal, self._seen)
        return await run_in_thread(_events, new) if len(new) > _FEW else _events(new)

    async def _of_one(self, wanted: str) -> list[Event]:
        with suppress(NotFound):  # the task has been deleted: no more events
            task = await self._hub.transfers.tasks.get(self._principal, wanted)
            if task.updated != self._last:
                self._last = task.updated
                return _events([task])
        return []


def _events(new: Sequence[TaskValue]) -> list[Event]:
    return [Event("task", str(task.updated), Task.of(task).model_dump_json()) for task in new]
