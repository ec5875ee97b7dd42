"""Transfers as plain values: uploads, and the tasks that control them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from dsx.core.intervals import IntervalSet
from dsx.core.model import BlobInfo, Micros

UploadKind = Literal["whole", "partial", "final"]
UploadState = Literal["open", "finished", "aborted", "expired"]
TaskKind = Literal["upload", "download", "delete", "empty"]
TaskState = Literal["pending", "running", "waiting", "paused", "completed", "aborted", "expired"]

ALGORITHMS = {"md5": 16, "sha1": 20, "sha256": 32}
"""Digest algorithms for verifying an upload or a part of one; their sizes in bytes."""


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload and its progress.

    Attributes:
        id: UUIDv7; also the id of the task that controls it.
        kind: ``whole``; or ``partial`` and ``final``, which joins partials (concatenation).
        name: of the file it becomes; None for a partial, which never becomes one.
        length: total bytes; None while unknown.
        received: bytes that are on disk; they never change.
        state: ``open`` until it is ``finished``, ``aborted`` or ``expired``.
        expected: digests of the whole by algorithm, in hexadecimal, checked before it is finished.
        notes: values a protocol stores to return later: header fields.
        generation: grows when a writer had to be shut out; hashes of older ones are invalid.
        paused: whether its task is paused.
        challenge: the open challenge of a proof of possession, in hexadecimal; None: none.
        blob: the computed digest of the bytes, noted before they are sealed; None: not hashed yet.
        version: number of the file version it became, once ``finished``.
        expires: when it is dropped unless bytes arrive before.
        staging_id: of the staging directory that has its bytes; None: no byte received yet.
        via: id of the limited token that began it; empty: another credential.
        counted: bytes that count against the owner's quota: reserved or received.
    """

    id: str
    owner: str
    kind: UploadKind
    name: str | None
    category: str
    content_type: str
    metadata: dict[str, Any]
    tags: tuple[str, ...]
    only_if_absent: bool
    length: int | None
    received: IntervalSet
    state: UploadState
    expected: Mapping[str, str]
    notes: Mapping[str, str]
    generation: int
    paused: bool
    challenge: str | None
    blob: BlobInfo | None
    version: int | None
    created: Micros
    expires: Micros
    parts: tuple[str, ...] = ()
    staging_id: str | None = None
    via: str = ""
    counted: int = 0

    @property
    def offset(self) -> int:
        """The offset of an upload in order: the number of bytes on disk from 0 on without a gap."""
        if self.state == "finished" and self.length is not None:
            return self.length
        return self.received.prefix

    @property
    def complete(self) -> bool:
        """Whether every byte has arrived, so that it can be finished."""
        return self.length is not None and self.received.covers(self.length)


@dataclass(frozen=True, slots=True)
class NewUpload:
    """The parameters of a new upload. Unset ones get the defaults of files.

    Attributes:
        length: total bytes; None: declared later.
        task: id of a pending task that is to control it; None: one of its own.
        id: chosen by the caller (a fresh UUID), which makes creation idempotent; None: a new id.
        parts: for a ``final``: the ids of its partials in order.
    """

    name: str | None = None
    kind: UploadKind = "whole"
    length: int | None = None
    category: str | None = None
    content_type: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    only_if_absent: bool = False
    expected: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    task: str | None = None
    parts: tuple[str, ...] = ()
    id: str | None = None


@dataclass(frozen=True, slots=True)
class PartDigest:
    """The expected digest of the bytes of one request."""

    algorithm: str
    value: bytes


@dataclass(frozen=True, slots=True)
class Task:
    """A controllable transfer.

    Attributes:
        kind: None until it is assigned to a transfer; ``empty``: of the trash.
        state: ``waiting``: it was begun, and nobody is continuing it at the moment.
        name: a display name of what is being transferred.
        done: bytes (of a delete: files) so far; ``total``: of how many, None if unknown.
        message: why it ended, if it failed.
        expires: when it ends, even if it is running, and is deleted.
    """

    id: str
    owner: str
    kind: TaskKind | None
    state: TaskState
    name: str
    done: int
    total: int | None
    message: str | None
    created: Micros
    updated: Micros
    expires: Micros
    subject: dict[str, Any] = field(default_factory=dict)
