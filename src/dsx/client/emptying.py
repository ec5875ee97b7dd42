"""Empties the trash, which the server does by itself as a task."""

from __future__ import annotations

import time

from dsx.client.errors import Gone
from dsx.client.http import Connection
from dsx.client.models import TaskInfo
from dsx.client.names import segments
from dsx.client.progress import Progress
from dsx.client.tasks import TASKS

TRASH = "/api/v1/trash"
_POLL = 0.5
_PATIENCE = 60.0
"""Seconds without progress after which the request is repeated, in case the server was restarted.
It then continues the task, or confirms that it is still running."""


def empty_trash(connection: Connection, progress: Progress | None) -> int:
    """Empty the trash; see `FileOperations.empty_trash`."""
    while True:
        answer = connection.json("DELETE", TRASH, params={"confirm": "all"})
        if answer.get("task") is None:
            return int(answer["purged"])
        info = _watched(connection, answer["task"], progress)
        if info.state == "completed":
            return info.done
        if info.over:
            raise Gone(f"Emptying the trash was {info.state}; {info.done} files were deleted.")


def _watched(connection: Connection, id_: str, progress: Progress | None) -> TaskInfo:
    """Wait until the task ends or makes no progress for `_PATIENCE` seconds; return it."""
    done, since = -1, time.monotonic()
    while True:
        info = TaskInfo.read(connection.json("GET", TASKS + segments(id_)))
        if progress is not None:
            progress(info.done, info.total, info.name)
        if info.done != done or info.state == "paused":
            done, since = info.done, time.monotonic()
        if info.over or time.monotonic() - since > _PATIENCE:
            return info
        time.sleep(_POLL)
