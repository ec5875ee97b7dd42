"""Validated responses of the server about files, datasets, tasks and accounts."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from dsx.client.errors import IS_IT_A_HUB, NotAHub
from dsx.core.intervals import IntervalSet


class Answer(BaseModel):
    """A response of a hub, or a part of one."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    @classmethod
    def read(cls, value: object) -> Self:
        """Validate *value*, which is parsed JSON; raise `NotAHub` if it does not conform."""
        try:
            return cls.model_validate(value)
        except ValidationError:
            raise NotAHub(f"The server's response is not a {cls.__name__}. {IS_IT_A_HUB}") from None


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
    """Files left out of a dataset for one reason: their number, and the first paths."""

    count: int
    paths: list[str] = []


class DatasetInfo(Answer):
    """A dataset and the progress of the server's index."""

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
    """The bytes that a proof of possession covers: see ``POST /api/v1/uploads/{id}/proof``."""

    nonce: str
    places: list[tuple[int, int]]


class UploadInfo(Answer):
    """The state of an upload on the server."""

    id: str
    length: int | None
    received: list[tuple[int, int]]
    state: str
    paused: bool
    challenge: ChallengeInfo | None = None
    file: FileInfo | None = None

    @property
    def there(self) -> IntervalSet:
        """The bytes on the server's disk."""
        return IntervalSet.of(self.received)


class TaskInfo(Answer):
    """A transfer that any connection can watch, pause, resume and abort.

    ``kind`` is ``upload``, ``download``, ``delete``, ``empty`` (of the trash) or None (to be
    assigned to an upload later); ``state`` is ``pending``, ``running``, ``waiting`` (started, but
    no client is continuing it), ``paused``, ``completed``, ``aborted`` or ``expired``; ``done`` and
    ``total`` count bytes, or files for ``delete`` and ``empty``; ``owner`` is an id.
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
        """Whether the task has ended."""
        return self.state in {"completed", "aborted", "expired"}


class PlaceInfo(Answer):
    """A resource: a ``file``, a ``category``, a ``prefix`` of names or a ``dataset``."""

    kind: str
    value: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.value}"


class AccountInfo(Answer):
    """Your account; ``places`` is None unless the credential is limited to some resources."""

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
    """What an account stores, versions and trash included; a quota of None means no limit.

    ``staged``: bytes received or reserved by unfinished uploads, which also count.
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
    """A deleted account; ``heir``: the new owner of its files, None if they are in the trash."""

    username: str
    files: int
    heir: str | None = None


class TokenInfo(Answer):
    """A token or an invitation; ``token``, the secret, is set only when it was just created."""

    id: str
    name: str
    scopes: list[str]
    places: list[PlaceInfo] | None = None
    created: datetime
    expires: datetime | None = None
    used: datetime | None = None
    token: str | None = None


class ShareInfo(Answer):
    """A share; ``url``, the link, is set only when it was just created."""

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
    """An entry of the audit log: an action or a refusal."""

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
