"""Uploads: their received bytes and reserved space. Inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    case,
    delete,
    exists,
    insert,
    literal,
    select,
    update,
)

from dsx.catalog.database import lock
from dsx.catalog.partial_uploads import partials_of
from dsx.catalog.schema.transfers import tasks, upload_parts, uploads, writers
from dsx.core.batches import in_batches
from dsx.core.digest import Digest
from dsx.core.errors import Gone, NotFound
from dsx.core.intervals import IntervalSet
from dsx.core.model import BlobInfo, Micros
from dsx.core.ranges import ByteRange
from dsx.core.transfers import Upload, UploadKind, UploadState

_ROOM = 0x726F6F6D  # "room"
_HELD = exists().where(writers.c.upload == uploads.c.id)


def lock_upload(connection: Connection, id_: str) -> None:
    """Exclude every other transaction from changing this upload until this one ends."""
    lock(connection, int.from_bytes(id_.encode()) % (1 << 62))


def add(connection: Connection, upload: Upload, reserved: int) -> None:
    """Record a new upload with *reserved* bytes of reserved space."""
    connection.execute(
        insert(uploads).values(
            id=upload.id,
            owner=upload.owner,
            kind=upload.kind,
            name=upload.name,
            category=upload.category,
            content_type=upload.content_type,
            metadata=upload.metadata,
            tags=sorted(set(upload.tags)),
            only_if_absent=upload.only_if_absent,
            length=upload.length,
            received=upload.received.pairs(),
            reserved=reserved,
            counted=upload.counted,
            state=upload.state,
            expected=dict(upload.expected),
            notes=dict(upload.notes),
            generation=upload.generation,
            challenge=upload.challenge,
            via=upload.via,
            created=upload.created,
            expires=upload.expires,
        )
    )
    rows = [
        {"final": upload.id, "position": position, "partial": partial}
        for position, partial in enumerate(upload.parts)
    ]
    if rows:
        connection.execute(insert(upload_parts), rows)


def get(connection: Connection, owner: str, id_: str) -> Upload:
    """Return the owner's upload, or `NotFound`."""
    upload = find(connection, owner, id_)
    if upload is None:
        raise NotFound(f"There is no upload {id_!r}.")
    return upload


def find(connection: Connection, owner: str, id_: str) -> Upload | None:
    """Return the owner's upload, if it exists."""
    row = connection.execute(_query().where(uploads.c.id == id_, uploads.c.owner == owner)).first()
    if row is None:
        return None
    upload = _upload(row)
    if upload.kind == "final":
        return replace(upload, parts=tuple(partials_of(connection, id_)))
    return upload


def get_open(connection: Connection, owner: str, id_: str, now: Micros) -> Upload:
    """Return the owner's upload if it is open or finished; `Gone` if it has ended otherwise."""
    upload = get_held(connection, owner, id_)
    if upload.state == "open" and upload.expires <= now:
        raise Gone("The upload has expired.", {"id": id_})
    return upload


def get_held(connection: Connection, owner: str, id_: str) -> Upload:
    """Return the owner's upload for its writers: it does not expire, even if the clock is set."""
    upload = get(connection, owner, id_)
    if upload.state in {"aborted", "expired"}:
        raise Gone(f"The upload was {upload.state}.", {"id": id_, "state": upload.state})
    return upload


def whose(connection: Connection, id_: str) -> str | None:
    """Return the owner of an upload, if it exists."""
    query = select(uploads.c.owner).where(uploads.c.id == id_)
    return connection.execute(query).scalar_one_or_none()


def page(connection: Connection, owner: str | None, after: str, limit: int) -> list[Upload]:
    """Return the owner's uploads (None: all) with ids greater than *after*, oldest first.

    Open ones, and complete partials, which count until a final uses them.
    """
    ready = holds_bytes() & (uploads.c.counted > 0)
    query = _query().where((uploads.c.state == "open") | ready, uploads.c.id > after)
    if owner is not None:
        query = query.where(uploads.c.owner == owner)
    query = query.order_by(uploads.c.id).limit(limit)
    return [_upload(row) for row in connection.execute(query)]


def claim_room(connection: Connection) -> None:
    """Exclude other transactions from reserving space; after `lock_upload`, if at all."""
    lock(connection, _ROOM)


def advance(connection: Connection, upload: Upload, new: ByteRange, expires: Micros) -> Upload:
    """Add *new* to the received bytes (already durable), and extend the expiry."""
    received = upload.received.add(new)
    values: dict[str, Any] = {"received": received.pairs(), "expires": expires}
    if upload.length is not None:
        values["reserved"] = max(0, upload.length - received.size)
    else:
        values["counted"] = received.size
    connection.execute(update(uploads).where(uploads.c.id == upload.id).values(values))
    if upload.kind == "partial":
        touch(connection, [upload.id], expires)
    counted = values.get("counted", upload.counted)
    return replace(upload, received=received, expires=expires, counted=counted)


def take_back(connection: Connection, upload: Upload, lost: Iterable[ByteRange]) -> Upload:
    """Mark the bytes of *lost* as not received; their digest becomes unknown."""
    received = upload.received
    for piece in lost:
        received = received.remove(piece)
    reserved = max(0, (upload.length or 0) - received.size)
    values: dict[str, Any] = {"received": received.pairs(), "reserved": reserved}
    if upload.length is None:
        values["counted"] = received.size
    where = uploads.c.id == upload.id
    connection.execute(update(uploads).where(where).values(digest=None, crc32=None, **values))
    return replace(upload, received=received, blob=None)


def set_length(connection: Connection, upload: Upload, length: int) -> Upload:
    """Set the length, which was unknown before."""
    reserved = max(0, length - upload.received.size)
    counted = 0 if upload.kind == "final" else length
    values = {"length": length, "reserved": reserved, "counted": counted}
    connection.execute(update(uploads).where(uploads.c.id == upload.id).values(values))
    return replace(upload, length=length, counted=counted)


def touch(connection: Connection, ids: Iterable[str], expires: Micros) -> None:
    """Extend open uploads until *expires* at least, and the partials they join."""
    for id_ in ids:
        finals = select(upload_parts.c.final).where(upload_parts.c.partial == id_)
        siblings = select(upload_parts.c.partial).where(upload_parts.c.final.in_(finals))
        alive = (uploads.c.state == "open") | (
            (uploads.c.state == "finished") & (uploads.c.kind == "partial")
        )
        connection.execute(
            update(uploads)
            .where(
                (uploads.c.id == id_) | uploads.c.id.in_(finals) | uploads.c.id.in_(siblings),
                alive,
                uploads.c.expires < expires,
            )
            .values(expires=expires)
        )


def set_staging(connection: Connection, upload: Upload, staging_id: str) -> Upload:
    """Record the staging directory of *upload*, whose first bytes are about to be written."""
    where = uploads.c.id == upload.id
    connection.execute(update(uploads).where(where).values(staging_id=staging_id))
    return replace(upload, staging_id=staging_id)


def describe(connection: Connection, id_: str, facts: Mapping[str, Any]) -> None:
    """Set fields of the future file: columns as `name` and `category`."""
    connection.execute(update(uploads).where(uploads.c.id == id_).values(**facts))
    if "name" in facts:
        connection.execute(update(tasks).where(tasks.c.id == id_).values(name=facts["name"]))


def expect(connection: Connection, upload: Upload, digests: Mapping[str, str]) -> None:
    """Add expected digests to those declared before.

    An earlier computed digest is dropped unless it is equal: the bytes are compared again.
    """
    values: dict[str, Any] = {"expected": {**upload.expected, **digests}}
    known = {"sha256": upload.blob.digest if upload.blob else None, **upload.expected}
    if any(known.get(algorithm) != value for algorithm, value in digests.items()):
        values |= {"digest": None, "crc32": None}
    connection.execute(update(uploads).where(uploads.c.id == upload.id).values(values))


def note_digest(connection: Connection, id_: str, blob: BlobInfo) -> None:
    """Record the digest of the bytes, before they are sealed."""
    values = {"digest": blob.digest, "crc32": blob.crc32}
    connection.execute(update(uploads).where(uploads.c.id == id_).values(values))


def noted_digest(connection: Connection, id_: str) -> Digest | None:
    """Return the recorded digest, if any."""
    query = select(uploads.c.digest).where(uploads.c.id == id_)
    return connection.execute(query).scalar_one_or_none()


def end(
    connection: Connection,
    id_: str,
    state: UploadState,
    expires: Micros,
    *,
    version: int | None = None,
) -> None:
    """Close an upload permanently; it is remembered until *expires*.

    A finished partial still has bytes, and they count, until a final is made of them.
    """
    values: dict[str, Any] = {"state": state, "expires": expires, "version": version, "reserved": 0}
    ready = (uploads.c.kind == "partial") & literal(state == "finished")
    values["counted"] = case((ready, uploads.c.counted), else_=0)
    connection.execute(
        update(uploads).where(uploads.c.id == id_).values(challenge=None, digest=None, **values)
    )
    connection.execute(delete(writers).where(writers.c.upload == id_))


def drop_challenge(connection: Connection, id_: str, challenge: str) -> bool:
    """Use up a challenge; False if it was already used."""
    asked = (uploads.c.id == id_) & (uploads.c.challenge == challenge)
    return bool(connection.execute(update(uploads).where(asked).values(challenge=None)).rowcount)


def shut_out(connection: Connection, id_: str) -> None:
    """Begin a new generation: a writer that did not yield was shut out."""
    where = uploads.c.id == id_
    connection.execute(
        update(uploads).where(where).values(generation=uploads.c.generation + 1, digest=None)
    )


def set_due(connection: Connection, id_: str) -> None:
    """Mark a paused upload to be finished once it is resumed."""
    connection.execute(update(uploads).where(uploads.c.id == id_).values(due=True))


def due(connection: Connection, id_: str) -> UploadKind | None:
    """Return the kind of an upload marked by `set_due`, or of a final.

    A final is made as soon as it can be.
    """
    due = uploads.c.due | (uploads.c.kind == "final")
    query = select(uploads.c.kind).where(uploads.c.id == id_, uploads.c.state == "open", due)
    kind: UploadKind | None = connection.execute(query).scalar_one_or_none()
    return kind


def holds_bytes() -> ColumnElement[bool]:
    """Return the condition that an upload has or will have bytes: open, or a complete partial."""
    return (uploads.c.state == "open") | (
        (uploads.c.kind == "partial") & (uploads.c.state == "finished")
    )


def needing_stages(connection: Connection, ids: Sequence[str]) -> set[str]:
    """Return those of *ids* that are uploads whose stages must stay.

    Open ones, and finished partials, since finals are made of them.
    """
    needed = holds_bytes()
    found: set[str] = set()
    for batch in in_batches(ids):
        some = uploads.c.id.in_(batch)
        found.update(connection.execute(select(uploads.c.id).where(some, needed)).scalars())
    return found


def expired(
    connection: Connection, now: Micros, limit: int, *, held: bool = False
) -> list[tuple[str, UploadState]]:
    """Return ids and states of expired uploads: those with a writer (*held*), or without."""
    query = (
        select(uploads.c.id, uploads.c.state)
        .where(uploads.c.expires <= now, _HELD if held else ~_HELD)
        .order_by(uploads.c.expires)
        .limit(limit)
    )
    return [(row.id, row.state) for row in connection.execute(query)]


def is_expired(connection: Connection, id_: str, now: Micros, *, held: bool = False) -> bool:
    """Return whether `expired` includes it, or would if it were *held* by a writer."""
    over = (uploads.c.id == id_) & (uploads.c.state == "open") & (uploads.c.expires <= now)
    query = select(uploads.c.id).where(over if held else over & ~_HELD)
    return connection.execute(query).first() is not None


def is_open(connection: Connection, id_: str) -> bool:
    """Return whether such an upload exists and has not ended."""
    query = select(uploads.c.id).where(uploads.c.id == id_, uploads.c.state == "open")
    return connection.execute(query).first() is not None


def expiry(connection: Connection, id_: str) -> Micros:
    """Return when the upload, which exists, is dropped unless bytes arrive before."""
    query = select(uploads.c.expires).where(uploads.c.id == id_)
    return int(connection.execute(query).scalar_one())


def forget(connection: Connection, id_: str) -> None:
    """Delete the record of an upload that has ended."""
    connection.execute(delete(upload_parts).where(upload_parts.c.final == id_))
    connection.execute(delete(uploads).where(uploads.c.id == id_))


def _query() -> Select[Any]:
    task = tasks.c.state.label("task_state")
    return select(uploads, task).outerjoin(tasks, tasks.c.id == uploads.c.id)


def _upload(row: Row[Any]) -> Upload:
    return Upload(
        id=row.id,
        owner=row.owner,
        kind=row.kind,
        name=row.name,
        category=row.category,
        content_type=row.content_type,
        metadata=row.metadata,
        tags=tuple(row.tags),
        only_if_absent=row.only_if_absent,
        length=row.length,
        received=IntervalSet.of(row.received),
        state=row.state,
        expected=row.expected,
        notes=row.notes,
        generation=row.generation,
        paused=row.task_state == "paused",
        challenge=row.challenge,
        blob=BlobInfo(Digest(row.digest), row.length, row.crc32) if row.digest else None,
        version=row.version,
        via=row.via,
        created=row.created,
        expires=row.expires,
        staging_id=row.staging_id,
        counted=row.counted,
    )
