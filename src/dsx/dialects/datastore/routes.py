"""The routes of the seed "Datastore": create a task, then transfer under it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Annotated, Any

from fastapi import Depends, Path, Query, Request, Response

from dsx.core.errors import Conflict, Invalid, NotFound
from dsx.core.model import FileQuery
from dsx.core.principals import Principal
from dsx.core.ranges import parse_content_range
from dsx.core.transfers import NewUpload, Upload
from dsx.core.transfers import Task as TaskValue
from dsx.dialects.datastore.models import ID, Account, Deleted, Task, Uploaded
from dsx.http.conditions import only_if_absent
from dsx.http.credentials import CallerDep, HubDep, PrincipalDep, address_of
from dsx.http.forms import read_fields
from dsx.http.parameters import Date, LenientRoute, refuses_unknown
from dsx.http.prefix_router import PrefixRouter
from dsx.http.problems import documented
from dsx.http.receive import Form, Write, announced, pump, pump_form
from dsx.http.send import DOWNLOADS, ContentResponse
from dsx.http.task_response import ControlledResponse
from dsx.http.upload_headers import told_filename
from dsx.hub.clock import to_micros
from dsx.hub.hub import Hub
from dsx.hub.transfers.append_request import AppendRequest
from dsx.transport.body import Gate

router = PrefixRouter(
    route_class=LenientRoute,
    tags=["dialect: datastore"],
    responses=documented(400, 401, 405, 422, 503),
)

_DOWNLOAD = DOWNLOADS | documented(404, 409, 410, 412, 413, 416)
_BINARY = {"type": "string", "format": "binary"}
_FORM = {"type": "object", "required": ["file"], "properties": {"file": _BINARY}}
_TEXT = {"type": "string"}
_ACCOUNT = {
    "type": "object",
    "required": ["username", "password"],
    "properties": {"username": _TEXT, "password": _TEXT, "invite": _TEXT},
}
_FIELDS = ("application/json", "application/x-www-form-urlencoded", "multipart/form-data")
_ACCOUNT_BODY = {"required": True, "content": {key: {"schema": _ACCOUNT} for key in _FIELDS}}
_BODY = {
    "required": True,
    "content": {
        "multipart/form-data": {"schema": _FORM},
        "application/octet-stream": {"schema": _BINARY},
    },
}
Endpoint = Callable[..., Coroutine[Any, Any, "Task"]]

TaskId = Annotated[str, Path(description="Id of a task.", examples=[ID], max_length=64)]


_UPLOAD = documented(404, 408, 409, 410, 412, 413, 507)
_UPLOAD[202] = {"model": Uploaded, "description": "Bytes are still missing."}


async def _selection(
    filename: Annotated[
        str | None,
        Query(max_length=1000, description="RE2 expression to search the name for; default: any."),
    ] = None,
    from_date: Annotated[
        Date | None, Query(description="Uploaded then or later; default zone: UTC.")
    ] = None,
    to_date: Annotated[Date | None, Query(description="Uploaded before then.")] = None,
) -> FileQuery:
    return FileQuery(
        regex=filename,
        created_from=None if from_date is None else to_micros(from_date),
        created_to=None if to_date is None else to_micros(to_date),
        sort="created",
    )


Selection = Annotated[FileQuery, Depends(_selection)]


def _control(what: str) -> Callable[[Endpoint], Endpoint]:
    """A route for the action *what* on a task, for POST and PUT: the seed names no method."""

    def decorate(endpoint: Endpoint) -> Endpoint:
        for method in ("POST", "PUT"):
            router.add_api_route(
                f"/{what}_task/{{task_id}}",
                endpoint,
                methods=[method],
                operation_id=f"datastore_{what}_task_{method.lower()}",
                summary=what.capitalize(),
                responses=documented(404, 409, 410),
            )
        return endpoint

    return decorate


@router.post(
    "/create_account",
    status_code=201,
    operation_id="datastore_create_account",
    summary="Create an account",
    openapi_extra={"requestBody": _ACCOUNT_BODY},
    responses=documented(403, 409, 413, 429),
)
async def create_account(request: Request, hub: HubDep, caller: CallerDep) -> Account:
    """Create an account. Needs an admin's credentials or an `invite`, unless sign-up is open."""
    fields = await read_fields(request)
    user = await hub.accounts.users.sign_up(
        fields.get("username", ""),
        fields.get("password", ""),
        by=caller,
        invite=fields.get("invite"),
        address=address_of(request),
    )
    return Account(username=user.name, id=user.id)


@router.post(
    "/create_task", status_code=201, operation_id="datastore_create_task", summary="Begin a task"
)
async def create_task(hub: HubDep, principal: PrincipalDep) -> Task:
    """Create a task for an upload, download or delete, controllable from any connection."""
    return Task.of(await hub.transfers.tasks.create(principal))


@router.get(
    "/task/{task_id}",
    operation_id="datastore_read_task",
    summary="Read a task",
    responses=documented(404),
)
async def read_task(task_id: TaskId, hub: HubDep, principal: PrincipalDep) -> Task:
    """Return a task's state and progress; 404 once it is aborted or has expired."""
    return Task.of(await _living(hub, principal, task_id))


@_control("pause")
async def pause_task(task_id: TaskId, hub: HubDep, principal: PrincipalDep) -> Task:
    """Pause a transfer. Its request is held open for a while, then closed; bytes are kept."""
    await _living(hub, principal, task_id)
    return Task.of(await hub.transfers.tasks.pause(principal, task_id))


@_control("resume")
async def resume_task(task_id: TaskId, hub: HubDep, principal: PrincipalDep) -> Task:
    """Resume a transfer; if its request was closed, repeat the request."""
    await _living(hub, principal, task_id)
    return Task.of(await hub.transfers.tasks.resume(principal, task_id))


@_control("abort")
@refuses_unknown
async def abort_task(task_id: TaskId, hub: HubDep, principal: PrincipalDep) -> Task:
    """Abort a transfer, drop its data and delete the task."""
    await _living(hub, principal, task_id)
    return Task.of(await hub.transfers.tasks.abort(principal, task_id))


@router.put(
    "/upload_file/{task_id}",
    status_code=201,
    operation_id="datastore_upload_file",
    summary="Upload a file",
    response_model=Uploaded,
    openapi_extra={"requestBody": _BODY},
    responses=_UPLOAD,
)
async def upload_file(
    *,
    task_id: TaskId,
    request: Request,
    response: Response,
    hub: HubDep,
    principal: PrincipalDep,
    filename: Annotated[
        str | None, Query(max_length=1024, description="Default: the name in the body.")
    ] = None,
) -> Uploaded:
    """Store a form's part `file`, or the raw body, as one file.

    After a break, send it again, or only the missing bytes with `Content-Range: bytes a-b/N`. One
    request at a time.
    """
    body = _Body(request)
    upload = await _upload(hub, principal, await _living(hub, principal, task_id), body, filename)
    upload = await hub.transfers.uploads.append(
        principal, task_id, body.source, body.addition, finish=False
    )
    version = None
    if upload.complete:
        if name := body.name(filename):
            await hub.transfers.uploads.describe(
                principal, task_id, name=name, content_type=body.type
            )
        version = await hub.transfers.uploads.finish(principal, task_id, later=True)
    response.status_code = 201 if version else 202
    return Uploaded(
        **Task.of(await hub.transfers.tasks.get(principal, task_id)).model_dump(),
        id=version and version.id,
        offset=upload.offset,
        sha256=version and version.sha256,
    )


@router.get(
    "/download_file/{task_id}",
    operation_id="datastore_download_file",
    summary="Download files",
    response_class=Response,
    responses=_DOWNLOAD,
)
@router.head(
    "/download_file/{task_id}",
    operation_id="datastore_download_file_head",
    summary="Read a download's headers",
    response_class=Response,
    responses=_DOWNLOAD,
)
async def download_file(
    task_id: TaskId, request: Request, hub: HubDep, principal: PrincipalDep, selection: Selection
) -> Response:
    """Download a ZIP of your files, or of those that match all filters, even if only one.

    The first request selects them; resume a broken download with ranges.
    """
    await _living(hub, principal, task_id)
    await hub.transfers.tasks.assign(principal, task_id, "download", selection)
    content = await hub.transfers.tasks.content(principal, task_id)
    if request.method == "HEAD":  # transfers nothing
        return ContentResponse(request, content)
    return ControlledResponse(
        request, content, partial(hub.transfers.tasks.transfer, principal, task_id)
    )


@router.delete(
    "/delete_file/{task_id}",
    operation_id="datastore_delete_file",
    summary="Delete files",
    responses=documented(404, 409, 410),
)
async def delete_file(
    task_id: TaskId, hub: HubDep, principal: PrincipalDep, selection: Selection
) -> Deleted:
    """Move the files that match all filters to the trash; without filters, all your files."""
    await _living(hub, principal, task_id)
    await hub.transfers.tasks.assign(principal, task_id, "delete", selection)
    task = await hub.transfers.tasks.delete(principal, task_id)
    return Deleted(task_id=task.id, deleted=task.done)


async def _living(hub: Hub, principal: Principal, task_id: str) -> TaskValue:
    """Return the task; `NotFound` once it is aborted or expired, as this dialect deletes it."""
    task = await hub.transfers.tasks.get(principal, task_id)
    if task.state in {"aborted", "expired"}:
        raise NotFound(f"Task {task_id!r} no longer exists: it was {task.state}.")
    return task


class _Body:
    """The body of an upload: a form or raw, whole or a part."""

    def __init__(self, request: Request) -> None:
        """Parse the header of *request*; raises `Invalid` if it is inconsistent."""
        self._request = request
        self._form = Form(content_type=request.headers.get("content-type"))
        kind = self._form.content_type or ""
        self._is_form = kind.lower().startswith("multipart/form-data")
        size = None if self._is_form else announced(request)
        place = _content_range(request, size)
        offset, length = place or (0, size)
        self.addition = AppendRequest(
            offset,
            size=size,
            length=length,
            last=place is None,
            part=True,
            alone=True,
            announced=announced(request),
        )

    async def source(self, write: Write, gate: Gate) -> None:
        """Pass the bytes of the file to *write*."""
        if self._is_form:
            self._form = await pump_form(self._request, write, gate)
        else:
            await pump(self._request, write, gate)

    def new(self, task_id: str, filename: str | None) -> NewUpload:
        """The upload to create, before any bytes are received."""
        type_ = None if self._is_form else self._form.content_type
        name, length = self.name(filename), self.addition.length
        return NewUpload(
            name=name,
            length=length,
            content_type=type_,
            task=task_id,
            only_if_absent=only_if_absent(self._request.headers),
        )

    def name(self, filename: str | None) -> str | None:
        """The file's name: the form part's, else *filename*, else the body's."""
        return self._form.filename or filename or told_filename(self._request.headers)

    @property
    def type(self) -> str | None:
        """The file's content type, once the bytes are received."""
        return self._form.content_type


def _content_range(request: Request, size: int | None) -> tuple[int, int | None] | None:
    """Return the body's offset and the total length; None if the body is the whole file."""
    header = request.headers.get("content-range")
    if header is None:
        return None
    told = parse_content_range(header)
    if told is None:
        raise Invalid("Content-Range must be of the form 'bytes 0-499/1234'.")
    first, last, total = told
    if last < first or (total or last + 1) <= last or size not in {None, last - first + 1}:
        raise Invalid("Content-Range is inconsistent, or does not match the length of the body.")
    return first, total


async def _upload(
    hub: Hub, principal: Principal, task: TaskValue, body: _Body, filename: str | None
) -> Upload:
    """The upload that *task* controls, created if the task has none yet."""
    if task.kind is None:
        return await hub.transfers.uploads.create(principal, body.new(task.id, filename))
    if task.kind != "upload":
        raise Conflict(f"The task's kind is already {task.kind}.", {"kind": task.kind})
    return await hub.transfers.uploads.get(principal, task.id, "write")
