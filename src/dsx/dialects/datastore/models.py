"""The responses of the dialect of the seed "Datastore"."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from dsx.core.transfers import Task as TaskValue
from dsx.hub.clock import SECOND
from dsx.hub.transfers.creation import NEVER

ID = "0b0c8f6e-6d0a-4c5e-9d6c-3a1f2b4c5d6e"
_EXAMPLE: dict[str, Any] = {
    "task_id": ID,
    "state": "running",
    "kind": "upload",
    "created_at": 1767225600,
    "expires_at": 1767312000,
    "done": 1048576,
    "total": 3000000,
    "filename": "a.bin",
}


class Account(BaseModel):
    """A new account."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"username": "alice", "id": ID}]})

    username: str
    id: str


class Task(BaseModel):
    """A task and the state of its transfer."""

    model_config = ConfigDict(title="DatastoreTask", json_schema_extra={"examples": [_EXAMPLE]})

    task_id: str
    state: Literal["pending", "running", "paused", "completed", "aborted", "expired"]
    kind: Literal["upload", "download", "delete"] | None
    created_at: int = Field(description="Seconds since 1970, UTC.")
    expires_at: int | None = Field(description="Seconds since 1970; null: with its upload.")
    done: int = Field(description="Bytes so far; for deletes, files.")
    total: int | None = Field(description="Total in the same unit, if known.")
    filename: str | None

    @classmethod
    def of(cls, task: TaskValue) -> Self:
        """The JSON of *task*."""
        return cls(
            task_id=task.id,
            state="running"
            if task.state == "waiting"
            else task.state,  # the seed has no such state
            kind="delete" if task.kind == "empty" else task.kind,
            created_at=task.created // SECOND,
            expires_at=None if task.expires >= NEVER else task.expires // SECOND,
            done=task.done,
            total=task.total,
            filename=task.name if task.kind == "upload" else None,
        )


class Uploaded(Task):
    """An upload's state after a request."""

    model_config = ConfigDict(title="DatastoreUpload", json_schema_extra={"examples": [_EXAMPLE]})

    id: str | None = Field(description="The file's id; null: bytes are missing.")
    offset: int = Field(description="Bytes on disk without a gap.")
    sha256: str | None


class Deleted(BaseModel):
    """Number of files moved to the trash."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"task_id": ID, "deleted": 3}]})

    task_id: str
    deleted: int
