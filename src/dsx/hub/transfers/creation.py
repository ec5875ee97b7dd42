"""Creates uploads: validates their parameters and fills in defaults."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import uuid_utils
from sqlalchemy import Connection

from dsx.catalog import partial_uploads, tasks, uploads
from dsx.core.errors import Conflict, Gone, Invalid, NotFound, Paused
from dsx.core.intervals import IntervalSet
from dsx.core.media_types import DEFAULT_TYPE
from dsx.core.model import FileVersion, Micros, NewFile
from dsx.core.names import check_file_name, check_label
from dsx.core.principals import Principal
from dsx.core.transfers import ALGORITHMS, NewUpload, Task, Upload
from dsx.hub.accounts import access
from dsx.hub.clock import now
from dsx.hub.files.validation import DEFAULT_CATEGORY, media_type, new_file
from dsx.hub.limits import Limits, check_room
from dsx.hub.transfers import possession

MAX_LENGTH = (1 << 62) - 1
MAX_PARTS = 10_000
NEVER: Micros = 1 << 62
"""The expiry of an upload's own task, which ends with the upload."""
PARENT = "parent"
"""The note of an upload with the file version it follows."""
_HEX = re.compile(r"[0-9a-f]+")


def described(principal: Principal, new: NewUpload, instant: Micros, expires: Micros) -> Upload:
    """Return *new* as an upload of *principal*; `Invalid` for unacceptable parameters."""
    if new.length is not None and not 0 <= new.length <= MAX_LENGTH:
        raise Invalid("A length must be a number of bytes, 0 or more.", {"length": new.length})
    expected = check_digests(new.expected)
    id_ = new.id or new.task or str(uuid_utils.uuid7())
    facts = _facts(principal.id, new, new.name or id_)
    long = new.length is not None and new.length >= possession.LEAST
    provable = long and "sha256" in expected and new.kind == "whole"
    return Upload(
        id=id_,
        owner=principal.id,
        kind=new.kind,
        name=facts.name or None,
        category=facts.category,
        content_type=facts.content_type,
        metadata=facts.metadata,
        tags=facts.tags,
        only_if_absent=new.only_if_absent,
        length=new.length,
        received=IntervalSet(),
        state="open",
        expected=expected,
        notes=new.notes,
        generation=0,
        paused=False,
        challenge=possession.challenge() if provable else None,
        blob=None,
        version=None,
        created=instant,
        expires=expires,
        parts=new.parts,
        via="" if principal.places is None else principal.via,
        counted=0 if new.kind == "final" else new.length or 0,
    )


def with_parts(connection: Connection, principal: Principal, upload: Upload, now: Micros) -> Upload:
    """Return *upload*; a final gets the sum of its partials' lengths if they are all known.

    `Invalid` unless the partials exist, and *principal* may use them.
    """
    if upload.kind != "final":
        return upload
    if not 0 < len(upload.parts) <= MAX_PARTS:
        raise Invalid(f"A final upload joins 1 to {MAX_PARTS} partial ones.")
    lengths = []
    for id_ in upload.parts:
        try:
            found = uploads.get_open(connection, upload.owner, id_, now)
            part = access.upload(connection, principal, found)
        except (NotFound, Gone):
            raise Invalid(f"There is no partial upload {id_!r}.", {"partial": id_}) from None
        if part.kind != "partial":
            raise Invalid(f"{id_!r} is not a partial upload.", {"partial": id_})
        lengths.append(part.length)
    return replace(upload, length=total(lengths))


def total(lengths: Sequence[int | None]) -> int | None:
    """Return the sum, or None if one of them is unknown."""
    known = [length for length in lengths if length is not None]
    return sum(known) if len(known) == len(lengths) else None


def assign(connection: Connection, upload: Upload, task: str | None) -> None:
    """Put *upload* under the control of the pending *task*, or of a task of its own."""
    if task is None:
        own = Task(
            id=upload.id,
            owner=upload.owner,
            kind="upload",
            state="running",
            name=upload.name or f"part {upload.id}",
            done=0,
            total=upload.length,
            message=None,
            created=upload.created,
            updated=upload.created,
            expires=NEVER,
        )
        tasks.add(connection, own)
        return
    if tasks.get(connection, upload.owner, task).state == "paused":
        raise Paused("The task is paused; resume it first.", {"id": task})
    values = {"kind": "upload", "state": "running", "name": upload.name, "total": upload.length}
    if not tasks.assign(connection, task, upload.created, **values):
        raise Conflict("The task is already in use, or has ended.", {"id": task})


def _facts(owner: str, new: NewUpload, name: str) -> NewFile:
    if new.kind == "partial":  # a final does not inherit the fields of its partials
        return NewFile(owner, "", DEFAULT_CATEGORY, DEFAULT_TYPE, {}, ())
    return new_file(
        owner,
        name,
        category=new.category,
        content_type=new.content_type,
        metadata=new.metadata,
        tags=new.tags,
    )


def changed_facts(
    upload: Upload, name: str | None, category: str | None, content_type: str | None
) -> dict[str, Any]:
    """Return the given fields, validated; a new name implies its content type."""
    facts: dict[str, Any] = {}
    if name is not None and PARENT not in upload.notes:  # else it keeps the name of that file
        facts["name"] = check_file_name(name)
        facts["content_type"] = media_type(content_type, name)
    elif content_type is not None:
        facts["content_type"] = media_type(content_type, upload.name or "")
    if category is not None:
        facts["category"] = check_label("A category", category or DEFAULT_CATEGORY)
    return facts


def succession(upload: Upload, parent: FileVersion) -> dict[str, Any]:
    """Return the fields of an upload that becomes the next version of *parent*'s file."""
    if parent.owner != upload.owner:
        raise NotFound(f"You have no file {parent.id!r}.")
    return {
        "name": parent.name,
        "category": parent.category,
        "content_type": media_type(None, parent.name),
        "notes": {**upload.notes, PARENT: parent.id},
    }


def check_digests(expected: Mapping[str, str]) -> dict[str, str]:
    """Return digests by algorithm in lower case; `Invalid` unless each has the right form."""
    found = {}
    for algorithm, value in expected.items():
        text = value.lower()
        if algorithm not in ALGORITHMS:
            raise Invalid(f"{algorithm} is not one of {', '.join(ALGORITHMS)}.")
        if not _HEX.fullmatch(text) or len(text) != 2 * ALGORITHMS[algorithm]:
            raise Invalid(f"{algorithm} must be {2 * ALGORITHMS[algorithm]} hexadecimal digits.")
        found[algorithm] = text
    return found


def fix_length(
    connection: Connection, limits: Limits, upload: Upload, length: int, room: int | None
) -> Upload:
    """Return *upload* with its length, unknown before, if that much is allowed.

    *room*: free space on the disk; None if nothing more is reserved.
    """
    limits.check_size(length)
    check_room(connection, room, length - upload.received.size)
    counted = partial_uploads.counted_as(connection, upload)
    limits.check_quota(connection, upload.owner, length, counted=counted)
    tasks.change(connection, upload.id, now(), total=length)
    return uploads.set_length(connection, upload, length)
