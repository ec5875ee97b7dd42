"""What the server tells of files, datasets, tasks and accounts, as validated values."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from dsx.core.spans import Spans


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


class ChallengeInfo(BaseModel):
    """Which bytes the server wants to have quoted: see ``POST /api/v1/uploads/{id}/proof``."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    nonce: str
    places: list[tuple[int, int]]


class UploadInfo(BaseModel):
    """An upload as the server sees it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    length: int | None
    received: list[tuple[int, int]]
    state: str
    paused: bool
    challenge: ChallengeInfo | None = None
    file: FileInfo | None = None

    @property
    def there(self) -> Spans:
        """What is on the server's disk."""
        return Spans.of(self.received)


class TaskInfo(BaseModel):
    """A transfer that any connection can watch, pause, resume and abort.

    ``kind`` is ``upload``, ``download``, ``delete`` or None (an upload takes it up later);
    ``state`` is ``pending``, ``running``, ``paused``, ``completed``, ``aborted`` or ``expired``;
    ``done`` and ``total`` count bytes, of a delete files.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    kind: str | None
    state: str
    name: str
    done: int
    total: int | None
    message: str | None
    created: datetime
    updated: datetime
    expires: datetime | None = None

    @property
    def over(self) -> bool:
        """Whether nothing will change any more."""
        return self.state in {"completed", "aborted", "expired"}


class PlaceInfo(BaseModel):
    """A part of a space: a ``file``, a ``category``, a ``prefix`` of names or a ``dataset``."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    kind: str
    value: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.value}"


class AccountInfo(BaseModel):
    """Who the server says you are; ``places`` is None if you may go everywhere."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    number: int
    username: str
    scopes: list[str]
    places: list[PlaceInfo] | None = None


class UserInfo(BaseModel):
    """An account; a quota of None is the hub's default."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    number: int
    username: str
    role: str
    disabled: bool
    quota_bytes: int | None = None
    quota_files: int | None = None
    created: datetime


class TokenInfo(BaseModel):
    """A token or an invitation; ``token``, the secret, is there only when it was just made."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    name: str
    scopes: list[str]
    places: list[PlaceInfo] | None = None
    created: datetime
    expires: datetime | None = None
    used: datetime | None = None
    token: str | None = None


class ShareInfo(BaseModel):
    """What is shared; ``url``, the link, is there only when it was just made."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    place: PlaceInfo
    kind: str
    owner: str
    password: bool
    downloads: int | None = None
    downloaded: int
    created: datetime
    expires: datetime | None = None
    url: str | None = None


class AuditInfo(BaseModel):
    """An entry of the audit log: what somebody did, or was refused."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    number: int
    at: datetime
    principal: str
    username: str | None = None
    via: str
    address: str
    action: str
    target: str
    outcome: str
    details: dict[str, Any]
