"""The JSON of uploads and tasks."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from dsx.core.transfers import Task as TaskValue
from dsx.core.transfers import Upload as UploadValue
from dsx.http.public import here
from dsx.hub.clock import time_text
from dsx.hub.transfers import possession
from dsx.hub.transfers.creation import NEVER
from dsx.protocols.rest.models import File

_ID = "019a9f3c-0000-7000-8000-00000000000a"
UPLOAD_EXAMPLE: dict[str, JsonValue] = {
    "id": _ID,
    "name": "checkpoints/epoch-3.safetensors",
    "length": 3000000,
    "offset": 1048576,
    "received": [[0, 1048576]],
    "state": "open",
    "paused": False,
    "created": "2026-01-31T12:00:00.000000Z",
    "expires": "2026-02-01T12:00:00.000000Z",
    "url": f"/api/v1/uploads/{_ID}",
    "challenge": None,
    "file": None,
}
TASK_EXAMPLE: dict[str, JsonValue] = {
    "id": _ID,
    "kind": "upload",
    "state": "running",
    "owner": "admin",
    "name": "checkpoints/epoch-3.safetensors",
    "done": 1048576,
    "total": 3000000,
    "message": None,
    "created": "2026-01-31T12:00:00.000000Z",
    "updated": "2026-01-31T12:00:05.000000Z",
    "expires": None,
}

UploadId = Annotated[str, Path(description="Id of an upload.", examples=[_ID], max_length=64)]
TaskId = Annotated[str, Path(description="Id of a task.", examples=[_ID], max_length=64)]
Hex = Annotated[str, Field(pattern="^[0-9a-fA-F]+$", max_length=64)]


class NewUpload(BaseModel):
    """An upload to begin."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"name": "a.bin", "length": 3000000}]}
    )

    name: str = Field(description="Name of the file.")
    length: int | None = Field(
        None, ge=0, le=(1 << 62) - 1, description="Total bytes; null: given when finishing."
    )
    category: str | None = None
    content_type: str | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)
    tags: list[str] = Field(default_factory=list, max_length=256)
    sha256: Hex | None = Field(
        None, description="Of the whole file, verified; may avoid sending it."
    )
    md5: Hex | None = Field(None, description="Of the whole file, verified.")
    sha1: Hex | None = Field(None, description="Of the whole file, verified.")
    only_if_absent: bool = Field(False, description="Only if the name is free.")
    task: str | None = Field(None, description="Id of a pending task to control it.")


class Challenge(BaseModel):
    """How to prove that you have the bytes: see the route `prove`."""

    nonce: str = Field(description="32 bytes in hexadecimal.")
    places: list[list[int]] = Field(description="[start, stop] of the ranges to prove.")


class Upload(BaseModel):
    """An upload."""

    model_config = ConfigDict(json_schema_extra={"examples": [UPLOAD_EXAMPLE]})

    id: str = Field(description="Also the id of the task that controls it.")
    name: str | None
    length: int | None = Field(description="Total bytes; null: not known yet.")
    offset: int = Field(description="Bytes on disk without a gap: where to continue.")
    received: list[list[int]] = Field(description="[start, stop] of the ranges on disk.")
    state: Literal["open", "finished", "aborted", "expired"]
    owner: str = Field(description="The owner's id.")
    paused: bool
    created: str
    expires: str = Field(description="When it is dropped unless more bytes arrive.")
    url: str
    challenge: Challenge | None = Field(description="Answer it to avoid sending the bytes.")
    file: File | None = Field(description="The file, once the upload is finished.")

    @classmethod
    def of(cls, upload: UploadValue, file: File | None = None) -> Self:
        """The JSON of *upload*."""
        challenge = None
        if upload.challenge is not None and upload.length is not None:
            places = possession.places(upload.challenge, upload.length)
            challenge = Challenge(
                nonce=upload.challenge, places=[[place.start, place.stop] for place in places]
            )
        return cls(
            id=upload.id,
            name=upload.name,
            length=upload.length,
            offset=upload.offset,
            received=upload.received.pairs(),
            state=upload.state,
            owner=upload.owner,
            paused=upload.paused,
            created=time_text(upload.created),
            expires=time_text(upload.expires),
            url=here(f"/api/v1/uploads/{upload.id}"),
            challenge=challenge,
            file=file,
        )


class UploadList(BaseModel):
    """Open uploads, oldest first."""

    items: list[Upload]
    next: str | None = Field(description="`after` of the next page; null on the last.")


class Finish(BaseModel):
    """How to finish an upload."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"length": 3000000}]})

    length: int | None = Field(
        None, ge=0, le=(1 << 62) - 1, description="Total bytes, if not declared before."
    )
    sha256: Hex | None = Field(None, description="Of the whole file, verified first.")


class Proof(BaseModel):
    """The answer to a challenge."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"proof": "0" * 64}]})

    proof: Hex = Field(description="SHA-256 of the nonce followed by the bytes at `places`.")


class NewTask(BaseModel):
    """A task to create."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"kind": "download", "category": "train"}]},
    )

    kind: Literal["download", "delete"] | None = Field(
        None, description="null: an upload is assigned to it later."
    )
    name: str = Field("", max_length=1024, description="Label.")
    ids: list[Annotated[str, Field(max_length=64)]] = Field(
        default_factory=list, max_length=10_000, fail_fast=True, description="Ids of the files."
    )
    glob: str | None = Field(None, max_length=1024, description="Or names: `img_*.png`.")
    regex: str | None = Field(None, max_length=1000, description="RE2 to search names for.")
    category: str | None = Field(None, max_length=255)
    tags: list[str] = Field(default_factory=list, max_length=32)


class Task(BaseModel):
    """A controllable transfer."""

    model_config = ConfigDict(json_schema_extra={"examples": [TASK_EXAMPLE]})

    id: str
    kind: Literal["upload", "download", "delete", "empty"] | None = Field(
        description="`empty`: empties the trash."
    )
    state: Literal["pending", "running", "waiting", "paused", "completed", "aborted", "expired"] = (
        Field(description="`waiting`: begun, and no request is working on it now.")
    )
    owner: str = Field(description="The owner's id.")
    name: str
    done: int = Field(description="Bytes so far; for deletes, files.")
    total: int | None = Field(description="Total in the same unit, if known.")
    message: str | None
    created: str
    updated: str
    expires: str | None = Field(description="When it expires; null: with its upload.")

    @classmethod
    def of(cls, task: TaskValue) -> Self:
        """The JSON of *task*."""
        return cls(
            id=task.id,
            kind=task.kind,
            state=task.state,
            owner=task.owner,
            name=task.name,
            done=task.done,
            total=task.total,
            message=task.message,
            created=time_text(task.created),
            updated=time_text(task.updated),
            expires=None if task.expires >= NEVER else time_text(task.expires),
        )


class TaskList(BaseModel):
    """Tasks, greatest ids first."""

    items: list[Task]
    next: str | None = Field(description="`before` of the next page; null on the last.")
