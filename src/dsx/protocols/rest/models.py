"""The JSON of the REST API."""

from __future__ import annotations

from typing import Annotated, Any, Self

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from dsx.core.model import DatasetInfo, FileVersion
from dsx.http.public import here
from dsx.hub.clock import time_text

FILE_EXAMPLE: dict[str, JsonValue] = {
    "id": "019a9f3c-0000-7000-8000-000000000001",
    "number": 1,
    "file": "019a9f3c-0000-7000-8000-0000000000ff",
    "version": 1,
    "latest": True,
    "owner": "admin",
    "name": "checkpoints/epoch-3.safetensors",
    "category": "models",
    "content_type": "application/octet-stream",
    "size": 1048576,
    "sha256": "30e14955ebf1352266dc2ff8067e68104607e750abb9d3b36582b8af909fcb58",
    "created": "2026-01-31T12:00:00.000000Z",
    "metadata": {"loss": 0.12},
    "tags": ["resnet"],
    "trashed": None,
    "expires": None,
    "url": "/api/v1/files/019a9f3c-0000-7000-8000-000000000001/content",
}

FileId = Annotated[
    str,
    Path(
        description="Id (UUID) or number of a file version, or id of a file.",
        examples=["1"],
        max_length=64,
    ),
]


class File(BaseModel):
    """One version of a file."""

    model_config = ConfigDict(json_schema_extra={"examples": [FILE_EXAMPLE]})

    id: str = Field(description="Public id (UUIDv7) of this version.")
    number: int = Field(description="Small integer id, never reused.")
    file: str = Field(description="Id of the file; in paths it stands for the newest version.")
    version: int = Field(description="Number of this version of the file: 1, 2, 3 …")
    latest: bool = Field(description="Whether it is the newest version, or was when deleted.")
    owner: str
    name: str
    category: str
    content_type: str
    size: int = Field(description="Bytes.")
    sha256: str
    created: str = Field(description="ISO 8601, UTC, microseconds.")
    metadata: dict[str, Any]
    tags: list[str]
    trashed: str | None = Field(description="When it was moved to the trash.")
    expires: str | None = Field(description="When it will be purged from the trash.")
    url: str = Field(description="URL of the bytes.")

    @classmethod
    def of(cls, version: FileVersion) -> Self:
        """The JSON of *version*."""
        return cls(
            id=version.id,
            number=version.number,
            file=version.file,
            version=version.version,
            latest=version.latest,
            owner=version.owner,
            name=version.name,
            category=version.category,
            content_type=version.content_type,
            size=version.size,
            sha256=version.sha256,
            created=time_text(version.created),
            metadata=version.metadata,
            tags=list(version.tags),
            trashed=None if version.trashed is None else time_text(version.trashed),
            expires=None if version.expires is None else time_text(version.expires),
            url=here(f"/api/v1/files/{version.id}/content"),
        )


class FilePage(BaseModel):
    """One page of files."""

    items: list[File]
    next: str | None = Field(None, description="Cursor of the next page; null on the last.")


class FileList(BaseModel):
    """Files, unpaged."""

    items: list[File]


class Names(BaseModel):
    """Names of files to look up."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"names": ["a.csv", "b/c.csv"]}]}
    )

    names: list[Annotated[str, Field(max_length=1024)]] = Field(max_length=1000)


class FilePatch(BaseModel):
    """Changes to a file; absent fields stay as they are."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"category": "test", "metadata": {"loss": 0.1}}]},
    )

    name: str | None = None
    category: str | None = None
    tags: list[str] | None = Field(None, max_length=256)
    metadata: dict[str, Any] | None = Field(
        None, description="Merged into the current metadata (RFC 7396); null removes a key."
    )


class Restore(BaseModel):
    """How to bring a file back from the trash."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"name": None}]})

    name: str | None = Field(None, description="New name; default: the old one.")
    version: int | None = Field(
        None, ge=1, le=(1 << 31) - 1, description="Restore only this version."
    )


class Purged(BaseModel):
    """Number of files purged."""

    purged: int
    task: str | None = Field(None, description="Id of the task that continues; null: done.")


class ArchiveRequest(BaseModel):
    """Files to put into the ZIP, in this order."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"ids": ["1", "2"]}]})

    ids: list[Annotated[str, Field(max_length=64)] | int] = Field(
        min_length=1, max_length=10_000, fail_fast=True
    )


class PackRequest(BaseModel):
    """Files of a dataset to pack, in this order."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"paths": ["train/img_001.jpg"]}]}
    )

    paths: list[str] | None = Field(
        None, max_length=100_000, fail_fast=True, description="Null: all files, by path."
    )
    start: int = Field(0, ge=0, description="Index of the first file to send, to resume.")


class LeftOut(BaseModel):
    """Files excluded from a dataset for one reason."""

    count: int
    paths: list[str] = Field(description="The first few paths.")


class Dataset(BaseModel):
    """A dataset served in place, with the progress of its index."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "imagenet",
                    "files": 3,
                    "size": 4096,
                    "state": "ready",
                    "done": 3,
                    "total": 3,
                    "indexed": "2026-01-31T12:00:00.000000Z",
                }
            ]
        }
    )

    name: str
    files: int
    size: int = Field(description="Bytes of all files.")
    state: str = Field(
        description="indexing (being listed), hashing (SHA-256 pending), ready, or unavailable."
    )
    done: int = Field(description="Files whose SHA-256 is known.")
    total: int
    indexed: str | None = Field(description="When the last scan ended.")
    trouble: str | None = Field(None, description="Why it is unavailable.")
    left_out: dict[str, LeftOut] = Field(
        default_factory=dict, description="Excluded files, by reason."
    )

    @classmethod
    def of(cls, info: DatasetInfo) -> Self:
        """The JSON of *info*."""
        return cls(
            name=info.name,
            files=info.files,
            size=info.size,
            state=info.state,
            done=info.done,
            total=info.total,
            indexed=None if info.indexed is None else time_text(info.indexed),
            trouble=info.trouble,
            left_out={
                reason: LeftOut.model_validate(noted) for reason, noted in info.left_out.items()
            },
        )


class DatasetList(BaseModel):
    """All datasets."""

    items: list[Dataset]
