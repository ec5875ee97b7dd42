"""What the server tells of files and datasets, as validated values."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict


class FileInfo(BaseModel):
    """One version of a stored file; the fields are those of the REST API."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    number: int
    file: str
    version: int
    latest: bool
    owner: str
    name: str
    category: str
    content_type: str
    size: int
    sha256: str
    created: datetime
    metadata: dict[str, Any]
    tags: list[str]
    trashed: datetime | None = None
    expires: datetime | None = None
    url: str


class DatasetInfo(BaseModel):
    """A dataset and how far the server's index of it is."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    files: int
    size: int
    state: str
    done: int
    total: int
    indexed: datetime | None = None
