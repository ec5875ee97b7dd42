"""Tasks of a hub: transfers that any connection can watch, pause, resume and abort."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import requests
import urllib3

from dsx.client.errors import Broken, Invalid
from dsx.client.http import Connection
from dsx.client.models import FileInfo, TaskInfo
from dsx.client.names import segments
from dsx.client.paths import local
from dsx.client.progress import Progress
from dsx.client.saving import save
from dsx.client.transfer import Remote
from dsx.core import errors as core
from dsx.core.digest import digest_of

TASKS = "/api/v1/tasks"
_PAGE = 1000
_POLL = 0.5
_STEADY = 60.0
"""Seconds after which the end of a connection does not count as a failure."""
_BREAKS = (requests.RequestException, urllib3.exceptions.HTTPError, ConnectionError)
TaskRef = str | TaskInfo
"""A task or its id. The task of an upload has the upload's id."""


class TaskOperations:
    """Task operations of the client: ``client.tasks``."""

    def __init__(self, connection: Connection, progress: Progress | None = None) -> None:
        """Use the server of *connection*."""
        self._connection = connection
        self._progress = progress

    def list(self, limit: int | None = None, *, everyone: bool = False) -> Iterator[TaskInfo]:
        """Iterate over your tasks, uploads included; for admins, those of *everyone*."""
        before: str | None = None
        left = limit
        while left is None or left > 0:
            params: dict[str, Any] = {"limit": min(left or _PAGE, _PAGE), "before": before}
            if everyone:
                params["everyone"] = "true"
            items, before = self._connection.page("GET", TASKS, params=params)
            for item in items:
                yield TaskInfo.read(item)
            if before is None:
                return
            left = None if left is None else left - len(items)

    def get(self, task: TaskRef) -> TaskInfo:
        """Return the current state of a task; raise `NotFound` if it does not exist."""
        return self._task("GET", _path(task))

    def pause(self, task: TaskRef) -> TaskInfo:
        """Pause a transfer within a second, wherever it runs. Raises `Conflict` if it has ended."""
        return self._task("POST", _path(task, "pause"))

    def resume(self, task: TaskRef) -> TaskInfo:
        """Resume a paused transfer. Raises `Conflict` if it has ended."""
        return self._task("POST", _path(task, "resume"))

    def abort(self, task: TaskRef) -> TaskInfo:
        """Abort a transfer and discard its data. Raises `Conflict` if it is completed.

        Admins may abort anyone's.
        """
        return self._task("POST", _path(task, "abort"))

    def watch(self, task: TaskRef | None = None) -> Iterator[TaskInfo]:
        """Iterate over tasks and all their changes, reconnecting after breaks.

        For one *task*, until it ends; for all tasks (None), without end.
        """
        known: dict[str, TaskInfo] = {}
        attempt = 0
        while True:
            begun = time.monotonic()
            try:
                for info in self._events(task):
                    attempt = 0
                    if known.get(info.id) != info:
                        known[info.id] = info
                        yield info
                    if task is not None and info.over:
                        return
                error: core.DSXError = Broken("The server ended the event stream.")
            except (core.Unavailable, core.RateLimited) as broken:
                error = broken
            if time.monotonic() - begun > _STEADY:  # a stream may end without any event
                attempt = 0
            if attempt >= self._connection.retries:
                raise error
            self._connection.pause(attempt, error)
            attempt += 1

    def create_download(
        self,
        refs: Sequence[str | int | FileInfo] = (),
        *,
        glob: str | None = None,
        regex: str | None = None,
        category: str | None = None,
        tags: Sequence[str] = (),
        name: str = "",
    ) -> TaskInfo:
        """Create a task to download *refs* (records, ids or numbers), or else the matching files.

        The files are selected now. *name* describes the task for people.
        """
        given = {"glob": glob, "regex": regex, "category": category, "tags": list(tags)}
        return self._create("download", refs, name, given)

    def create_delete(
        self,
        refs: Sequence[str | int | FileInfo] = (),
        *,
        glob: str | None = None,
        regex: str | None = None,
        category: str | None = None,
        tags: Sequence[str] = (),
        name: str = "",
    ) -> TaskInfo:
        """Create a task to move files to the trash, selected as by `create_download`."""
        given = {"glob": glob, "regex": regex, "category": category, "tags": list(tags)}
        return self._create("delete", refs, name, given)

    def download(
        self, task: TaskRef, target: str | Path, *, progress: Progress | None = None
    ) -> Path:
        """Execute a download task: save its files as one ZIP to *target*; return the path.

        Waits while the task is paused. After an interruption, the same call in another process
        resumes. Raises `Gone` if the task is aborted.
        """
        place = local(target)
        remote = Remote(
            self._connection, _path(task, "content"), place.name, wait=lambda: self._wait(task)
        )
        with replace(remote, method="HEAD").ask({}) as head:
            size, etag = int(head.headers["Content-Length"]), head.headers["ETag"]
        remote = replace(remote, size=size, etag=etag)
        key = digest_of(etag.encode())
        save(remote, place, progress or self._progress, key=key, ranges=False)
        return place

    def delete(self, task: TaskRef) -> TaskInfo:
        """Execute a delete task; return when all its files are in the trash.

        Waits while the task is paused. Raises `Gone` if it is aborted; deleted files stay deleted.
        """
        while True:
            try:
                return self._task("POST", _path(task, "delete"))  # a repeated request resumes
            except core.Paused:
                self._wait(task)

    def _wait(self, task: TaskRef) -> None:
        while self.get(task).state == "paused":
            time.sleep(_POLL)

    def _create(
        self,
        kind: str,
        refs: Sequence[str | int | FileInfo],
        name: str,
        given: dict[str, Any],
    ) -> TaskInfo:
        ids = [ref.id if isinstance(ref, FileInfo) else str(ref) for ref in refs]
        if not ids and not any(given.values()):
            raise Invalid("Select files by refs, glob, regex, category or tags.")
        return self._task("POST", TASKS, json={"kind": kind, "name": name, "ids": ids, **given})

    def _task(self, method: str, path: str, **more: Any) -> TaskInfo:
        return TaskInfo.read(self._connection.json(method, path, **more))

    def _events(self, task: TaskRef | None) -> Iterator[TaskInfo]:
        """Iterate over the events of one connection; raise `Broken` if it breaks."""
        params = {"id": _id(task)} if task is not None else {}
        response = self._connection.request(
            "GET", TASKS + "/events", params=params, stream=True, retries=0
        )
        try:
            with response:
                for line in response.iter_lines(chunk_size=None):
                    if line.startswith(b"data:"):
                        yield TaskInfo.read(json.loads(line.removeprefix(b"data:")))
        except _BREAKS as error:
            raise Broken(f"The event stream broke: {error}") from error


def _id(task: TaskRef) -> str:
    return task.id if isinstance(task, TaskInfo) else task


def _path(task: TaskRef, *more: str) -> str:
    return TASKS + segments(_id(task), *more)
