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
"""Seconds after which a connection that ends had not failed."""
_BREAKS = (requests.RequestException, urllib3.exceptions.HTTPError, ConnectionError)
TaskRef = str | TaskInfo
"""A task or its id. The task of an upload has the upload's id."""


class TaskOperations:
    """The part of the client that deals with tasks: ``client.tasks``."""

    def __init__(self, connection: Connection, progress: Progress | None = None) -> None:
        """Tasks of the server that *connection* leads to."""
        self._connection = connection
        self._progress = progress

    def list(self, limit: int | None = None, *, everyone: bool = False) -> Iterator[TaskInfo]:
        """Your tasks, those of uploads among them; those of *everyone*, for admins."""
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
        """The task as it is now; `NotFound` if there is none."""
        return self._task("GET", _path(task))

    def pause(self, task: TaskRef) -> TaskInfo:
        """Have the transfer wait, within a second, wherever it runs. `Conflict` if it is over."""
        return self._task("POST", _path(task, "pause"))

    def resume(self, task: TaskRef) -> TaskInfo:
        """Let the transfer go on. `Conflict` if it is over."""
        return self._task("POST", _path(task, "resume"))

    def abort(self, task: TaskRef) -> TaskInfo:
        """End the transfer and drop what it had. `Conflict` if it is completed.

        An admin may end anybody's.
        """
        return self._task("POST", _path(task, "abort"))

    def watch(self, task: TaskRef | None = None) -> Iterator[TaskInfo]:
        """Tasks as they are, and again whenever one changes; connections that break are renewed.

        Of one *task*, until it is over; of all of them (None), until you leave.
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
                error: core.DSXError = Broken("The server ended the stream of events.")
            except (core.Unavailable, core.RateLimited) as broken:
                error = broken
            if time.monotonic() - begun > _STEADY:  # a stream has an end, with or without news
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
        """A task to download files: *refs* (records, ids or numbers), or else those that match.

        Which ones is settled now. *name* is for people.
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
        """A task to move files to the trash; they are chosen as by `create_download`."""
        given = {"glob": glob, "regex": regex, "category": category, "tags": list(tags)}
        return self._create("delete", refs, name, given)

    def download(
        self, task: TaskRef, target: str | Path, *, progress: Progress | None = None
    ) -> Path:
        """Carry a download task out: its files, as one ZIP, at *target*.

        While the task is paused this waits, then goes on where it was; so does another process
        after this one. `Gone` if it is aborted.
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
        """Carry a delete task out; returns when all its files are in the trash.

        While the task is paused this waits. `Gone` if it is aborted; what is deleted stays so.
        """
        while True:
            try:
                return self._task("POST", _path(task, "delete"))  # again, it goes on
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
            raise Invalid("Say which files: refs, glob, regex, category or tags.")
        return self._task("POST", TASKS, json={"kind": kind, "name": name, "ids": ids, **given})

    def _task(self, method: str, path: str, **more: Any) -> TaskInfo:
        return TaskInfo.read(self._connection.json(method, path, **more))

    def _events(self, task: TaskRef | None) -> Iterator[TaskInfo]:
        """What one connection tells; `Broken` if it breaks."""
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
            raise Broken(f"The stream of events broke: {error}") from error


def _id(task: TaskRef) -> str:
    return task.id if isinstance(task, TaskInfo) else task


def _path(task: TaskRef, *more: str) -> str:
    return TASKS + segments(_id(task), *more)
