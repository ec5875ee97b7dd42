"""Transfers as plain values: uploads on their way in, and the tasks that control them."""

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
"""Digests that an upload, or a part of one, may be checked against; their sizes in bytes."""


@dataclass(frozen=True, slots=True)
class Upload:
    """Bytes on their way in.

    Attributes:
        id: UUIDv7; also the id of the task that controls it.
        kind: ``whole``; or ``partial`` and ``final``, of which finals are made (concatenation).
        name: of the file it becomes; None for a partial, which never becomes one.
        length: bytes in all; None while that is not known yet.
        received: bytes that are on disk; they never change any more.
        state: ``open`` until it is ``finished``, ``aborted`` or ``expired``.
        expected: digests of the whole by algorithm, in hexadecimal, checked before it is finished.
        notes: what a protocol wants to be told again: header fields.
        generation: grows when a writer had to be shut out; hashes of older ones are worthless.
        paused: whether its task is paused.
        challenge: what a proof of possession has to answer, in hexadecimal; None: none is asked.
        blob: what the bytes were found to be, noted before they are sealed; None: not hashed yet.
        version: number of the file version it became, once ``finished``.
        expires: when it is dropped unless something arrives before.
        staging_id: of the staging directory that has its bytes; None: no byte has come yet.
        via: id of the token limited to some places that began it; empty: another credential.
        counted: bytes that count against the owner's quota: those promised, or those that came.
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
        """Where an upload in order goes on: bytes from 0 on that are on disk without a gap."""
        if self.state == "finished" and self.length is not None:
            return self.length
        return self.received.prefix

    @property
    def complete(self) -> bool:
        """Whether every byte is there, so that it can be finished."""
        return self.length is not None and self.received.covers(self.length)


@dataclass(frozen=True, slots=True)
class NewUpload:
    """What an upload begins with. Unset facts get the defaults of files.

    Attributes:
        length: bytes in all; None: told later.
        task: id of a pending task that is to control it; None: one of its own.
        id: of the caller's choice (a fresh UUID), so that an upload is begun once however often
            that is tried; None: one is chosen.
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
    """What the bytes of one request are to hash to."""

    algorithm: str
    value: bytes


@dataclass(frozen=True, slots=True)
class Task:
    """A controllable transfer.

    Attributes:
        kind: None until a transfer takes the task up; ``empty``: of the trash.
        state: ``waiting``: it was begun, and nobody goes on with it just now.
        name: what is being transferred, for people.
        done: bytes (of a delete: files) so far; ``total``: of how many, None if not known.
        message: why it ended, if it failed.
        expires: when it ends by itself, whatever it is doing, and is forgotten.
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
