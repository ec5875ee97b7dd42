"""What the server tells of files, datasets, tasks and accounts, as validated values."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from dsx.client.errors import IS_IT_A_HUB, NotAHub
from dsx.core.intervals import IntervalSet


class Answer(BaseModel):
    """Something that a hub tells."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    @classmethod
    def read(cls, value: object) -> Self:
        """*value*, parsed JSON, as what it should be; else `NotAHub`."""
        try:
            return cls.model_validate(value)
        except ValidationError:
            raise NotAHub(f"The server's answer is no {cls.__name__}. {IS_IT_A_HUB}") from None


class FileInfo(Answer):
    """One version of a stored file; the fields are those of the REST API."""

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


class LeftOut(Answer):
    """Files that a dataset leaves out for one reason: how many, and the first of them."""

    count: int
    paths: list[str] = []


class DatasetInfo(Answer):
    """A dataset and how far the server's index of it is."""

    name: str
    files: int
    size: int
    state: str
    done: int
    total: int
    indexed: datetime | None = None
    trouble: str | None = None
    left_out: dict[str, LeftOut] = {}


class ChallengeInfo(Answer):
    """Which bytes the server wants to have quoted: see ``POST /api/v1/uploads/{id}/proof``."""

    nonce: str
    places: list[tuple[int, int]]


class UploadInfo(Answer):
    """An upload as the server sees it."""

    id: str
    length: int | None
    received: list[tuple[int, int]]
    state: str
    paused: bool
    challenge: ChallengeInfo | None = None
    file: FileInfo | None = None

    @property
    def there(self) -> IntervalSet:
        """What is on the server's disk."""
        return IntervalSet.of(self.received)


class TaskInfo(Answer):
    """A transfer that any connection can watch, pause, resume and abort.

    ``kind`` is ``upload``, ``download``, ``delete``, ``empty`` (of the trash) or None (an upload
    takes it up later); ``state`` is ``pending``, ``running``, ``waiting`` (begun, but nobody goes
    on with it just now), ``paused``, ``completed``, ``aborted`` or ``expired``; ``done`` and
    ``total`` count bytes, of a delete and an emptying files; ``owner`` is an id.
    """

    id: str
    kind: str | None
    state: str
    owner: str = ""
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


class PlaceInfo(Answer):
    """A part of a space: a ``file``, a ``category``, a ``prefix`` of names or a ``dataset``."""

    kind: str
    value: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.value}"


class AccountInfo(Answer):
    """Who the server says you are; ``places`` is None if you may go everywhere."""

    id: str
    number: int
    username: str
    scopes: list[str]
    places: list[PlaceInfo] | None = None


class ServerInfo(Answer):
    """A hub that is ready. ``storage``: ``ok`` or ``full``; ``free``: bytes, None if unknown."""

    storage: str = "ok"
    free: int | None = None
    version: str = ""


class UsageInfo(Answer):
    """What somebody stores, versions and trash included; a quota of None: any number.

    ``staged``: bytes that unfinished uploads have or were promised; they count, too.
    """

    bytes: int
    files: int
    staged: int = 0
    quota_bytes: int | None = None
    quota_files: int | None = None


class UserInfo(Answer):
    """An account; a quota of None is the hub's default."""

    id: str
    number: int
    username: str
    role: str
    disabled: bool
    quota_bytes: int | None = None
    quota_files: int | None = None
    created: datetime


class DepartureInfo(Answer):
    """An account that has ended; ``heir``: who has its files, None: they are in the trash."""

    username: str
    files: int
    heir: str | None = None


class TokenInfo(Answer):
    """A token or an invitation; ``token``, the secret, is there only when it was just made."""

    id: str
    name: str
    scopes: list[str]
    places: list[PlaceInfo] | None = None
    created: datetime
    expires: datetime | None = None
    used: datetime | None = None
    token: str | None = None


class ShareInfo(Answer):
    """What is shared; ``url``, the link, is there only when it was just made."""

    id: str
    place: PlaceInfo
    kind: str
    owner: str
    grantee: str | None = None
    name: str | None = None
    there: bool = True
    password: bool
    downloads: int | None = None
    downloaded: int
    created: datetime
    expires: datetime | None = None
    url: str | None = None


class AuditInfo(Answer):
    """An entry of the audit log: what somebody did, or was refused."""

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
