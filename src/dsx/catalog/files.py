"""Files and their versions, in one table with one row per version.

``file`` groups the versions of one file; ``latest`` marks the newest live one. For the trash see
`dsx.catalog.trash`. Functions run inside the caller's transaction.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import uuid_utils
from sqlalchemy import (
    Connection,
    Select,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from dsx.catalog import labels, pages
from dsx.catalog.database import lock
from dsx.catalog.matching import (
    Matcher,
    check_pattern,
    glob_matcher,
    literal_prefix,
    regex_matcher,
    successor,
    unescape,
)
from dsx.catalog.schema.base import LIVE
from dsx.catalog.schema.content import blobs, file_labels, files
from dsx.catalog.trash import TRASHED
from dsx.core.batches import in_batches
from dsx.core.digest import Digest
from dsx.core.errors import AlreadyExists, NotFound
from dsx.core.model import BlobInfo, FileQuery, FileVersion, Micros, NewFile, Page
from dsx.core.principals import ResourceScopes

_MAX_NUMBER = 1 << 62


def lock_owner(connection: Connection, owner: str) -> None:
    """Exclude every other transaction from changing this owner's files until this one ends.

    Taken first, before any blob is locked and before the rows to change are read: versions of one
    name then follow each other, and a file moves as a whole.
    """
    lock(connection, int.from_bytes(hashlib.blake2b(owner.encode(), digest_size=7).digest()))


def add(
    connection: Connection, new: NewFile, blob: BlobInfo, now: Micros, *, id_: str | None = None
) -> FileVersion:
    """Add a version: of the live file of that owner and name, or else the first of a new file.

    The owner must be locked. *id_* is an existing id of the version, if any.
    """
    before = connection.execute(
        select(files.c.number, files.c.file).where(
            LIVE, files.c.owner == new.owner, files.c.name == new.name
        )
    ).first()
    id_ = id_ or str(uuid_utils.uuid7())
    if before is not None:
        connection.execute(
            update(files).where(files.c.number == before.number).values(latest=False)
        )
    # The file's id differs from its versions' ids, so that each can be named alone.
    file = before.file if before else str(uuid_utils.uuid7())
    row = {
        "id": id_,
        "file": file,
        "version": _next_version(connection, file) if before else 1,
        "latest": True,
        "owner": new.owner,
        "name": new.name,
        "category": new.category,
        "content_type": new.content_type,
        "size": blob.size,
        "sha256": blob.digest,
        "created": now,
        "metadata": new.metadata,
        "tags": sorted(set(new.tags)),
    }
    number = connection.execute(insert(files).values(row).returning(files.c.number)).scalar_one()
    labels.refresh(connection, file)
    return by_number(connection, number)


def _next_version(connection: Connection, file: str) -> int:
    """Return one more than the highest version, including those in the trash."""
    newest = select(func.max(files.c.version)).where(files.c.file == file)
    return int(connection.execute(newest).scalar_one()) + 1


def by_number(connection: Connection, number: int) -> FileVersion:
    """Return the version with this number, which exists."""
    return pages.read(connection, pages.records().where(files.c.number == number))[0]


def get_many(connection: Connection, refs: Sequence[str]) -> dict[str, FileVersion]:
    """Return the results of `get` for *refs*, some hundred; missing ones are left out.

    One query for all ids and numbers, and one for the ids of files. Without metadata.
    """
    live = files.c.trashed.is_(None)
    numbers = {ref: int(ref) for ref in refs if _is_number(ref)}
    ids = {ref: _as_id(ref) for ref in refs if ref not in numbers}
    either = files.c.number.in_(numbers.values()) | files.c.id.in_(ids.values())
    found = pages.read(connection, pages.records(pages.BRIEF).where(live, either))
    by_its_id: dict[str | int, FileVersion] = {one.id: one for one in found}
    by_its_id |= {one.number: one for one in found}
    left = [id_ for id_ in ids.values() if id_ and id_ not in by_its_id]
    if left:
        newest = pages.records(pages.BRIEF).where(live, files.c.latest, files.c.file.in_(left))
        versions_ = pages.read(connection, newest.order_by(files.c.version))
        of_files: dict[str | int, FileVersion] = {one.file: one for one in versions_}
        by_its_id = of_files | by_its_id
    keys: dict[str, str | int] = {**ids, **numbers}
    return {ref: by_its_id[keys[ref]] for ref in refs if keys[ref] in by_its_id}


def find_number(connection: Connection, number: int) -> FileVersion | None:
    """Return the version with this number, live or in the trash, unless it was purged."""
    return next(iter(pages.read(connection, pages.records().where(files.c.number == number))), None)


def get(connection: Connection, ref: str, *, trashed: bool = False) -> FileVersion:
    """Return the version *ref* (id or number), live or *trashed*, of any owner; or `NotFound`.

    A file's id stands for its newest version. Access is not checked here: see
    `dsx.hub.accounts.access`.
    """
    where = TRASHED if trashed else files.c.trashed.is_(None)
    found = pages.read(connection, pages.records().where(where, _refers(ref)))
    if not found and not ref.isdecimal():
        same = files.c.file == _as_id(ref)
        newest = files.c.trashed.desc(), files.c.version.desc()
        query = pages.records().where(where, files.c.latest, same).order_by(*newest).limit(1)
        found = pages.read(connection, query)
    if not found:
        raise unknown(ref, trashed=trashed)
    return found[0]


def unknown(ref: str, *, trashed: bool = False) -> NotFound:
    """Return the failure for a version that does not exist or may not be known."""
    return NotFound(f"There is no file {ref!r}{' in the trash' if trashed else ''}.")


def numbered(connection: Connection, owner: str, numbers: Sequence[int]) -> dict[int, FileVersion]:
    """Return those of *numbers* that are versions of the owner, also in the trash; no metadata."""
    found: dict[int, FileVersion] = {}
    for batch in in_batches(numbers):
        some = files.c.number.in_(batch)
        query = pages.records(pages.BRIEF).where(some, files.c.owner == owner)
        found.update({version.number: version for version in pages.read(connection, query)})
    return found


def where_are(connection: Connection, numbers: Sequence[int]) -> Iterator[tuple[str, str, str]]:
    """Yield file, name and category of the existing ones of *numbers*, live or in the trash."""
    columns = files.c.file, files.c.name, files.c.category
    for batch in in_batches(numbers):
        for row in connection.execute(select(*columns).where(files.c.number.in_(batch))):
            yield row.file, row.name, row.category


def find(connection: Connection, owner: str, name: str) -> FileVersion | None:
    """Return the newest version of the owner's live file *name*."""
    query = pages.records().where(LIVE, files.c.owner == owner, files.c.name == name)
    return next(iter(pages.read(connection, query)), None)


def find_many(connection: Connection, owner: str, names: Sequence[str]) -> list[FileVersion]:
    """Return the newest versions of the owner's live files named one of *names*.

    Without those whose bytes are damaged.
    """
    found: list[FileVersion] = []
    for batch in in_batches(names):
        some = files.c.name.in_(batch), blobs.c.damaged.is_(None)
        found += pages.read(connection, pages.records().where(LIVE, files.c.owner == owner, *some))
    return found


def find_version(
    connection: Connection, file: str, version: int, *, trashed: bool = False
) -> FileVersion | None:
    """Return that version of a file, live or *trashed*."""
    where = TRASHED if trashed else files.c.trashed.is_(None)
    query = pages.records().where(where, files.c.file == file, files.c.version == version)
    return next(iter(pages.read(connection, query)), None)


def versions(connection: Connection, file: str) -> list[FileVersion]:
    """Return all versions of one file, newest first, including those in the trash."""
    query = pages.records().where(files.c.file == file).order_by(files.c.version.desc())
    return pages.read(connection, query)


def list_versions(
    connection: Connection, file: str, limit: int, cursor: str | None, places: ResourceScopes = None
) -> Page:
    """Return the live versions of one file that lie in *places*, newest first."""
    query = select(files.c.number, files.c.version.label("key"), files.c.name).where(
        files.c.file == file, files.c.trashed.is_(None), *labels.versions_within(places)
    )
    where = pages.Position((files.c.version, files.c.number), "-version", cursor, limit)
    return pages.page(connection, query, where, [])


def change(connection: Connection, version: FileVersion, values: dict[str, Any]) -> None:
    """Set ``category``, ``metadata`` or ``tags`` of one version, or ``name`` of its whole file."""
    values = dict(values)
    if "name" in values:
        rename(connection, version.file, values.pop("name"))
    if "tags" in values:
        values["tags"] = sorted(set(values["tags"]))
    if values:
        connection.execute(update(files).where(files.c.number == version.number).values(values))
    labels.refresh(connection, version.file)


def rename(connection: Connection, file: str, name: str) -> None:
    """Rename the file; `AlreadyExists` if another live file of its owner has the name."""
    try:
        connection.execute(update(files).where(files.c.file == file).values(name=name))
    except IntegrityError:
        raise AlreadyExists(f"A file named {name!r} already exists.") from None
    labels.refresh(connection, file)


def list_live(
    connection: Connection,
    owner: str,
    wanted: FileQuery,
    places: ResourceScopes = None,
    *,
    brief: bool = False,
) -> Page:
    """Return the newest versions of the owner's live files that *wanted* selects, in *places*.

    *brief*: without metadata, which is limited per page.
    """
    rows = file_labels.c
    column = rows[wanted.sort.removeprefix("-")]
    query: Select[Any] = select(rows.number, column.label("key"), rows.name)
    query = query.where(rows.owner == owner, *labels.chosen(wanted), *labels.within(places))
    matchers: list[Matcher] = []
    if wanted.glob is not None:
        query, matchers = _narrow(query, wanted.glob)
    if wanted.regex is not None:
        matchers.append(regex_matcher(wanted.regex))
    if wanted.created_from is not None:
        query = query.where(rows.created >= wanted.created_from)
    if wanted.created_to is not None:
        query = query.where(rows.created < wanted.created_to)
    where = pages.Position(
        (column, rows.number), wanted.sort, wanted.cursor, wanted.limit, wanted.offset
    )
    return pages.page(connection, query, where, matchers, brief=brief)


def _narrow(query: Select[Any], glob: str) -> tuple[Select[Any], list[Matcher]]:
    """Narrow a glob by the index on names where possible; the matcher does the rest."""
    exact = unescape(check_pattern(glob, "name"))
    if exact is not None:
        return query.where(file_labels.c.name == exact), []
    prefix = literal_prefix(glob)
    if prefix:
        query = query.where(file_labels.c.name >= prefix)
        end = successor(prefix)
        query = query if end is None else query.where(file_labels.c.name < end)
    return query, [glob_matcher(glob)]


def _refers(ref: str) -> Any:
    """Return a condition for an id or number, without leading zeros; others match nothing."""
    return files.c.number == int(ref) if _is_number(ref) else files.c.id == _as_id(ref)


def _is_number(ref: str) -> bool:
    number = ref.isascii() and ref.isdecimal() and not ref.startswith("0")
    return number and len(ref) < len(str(_MAX_NUMBER))


def _as_id(ref: str) -> str:
    return ref.lower() if ref.isascii() and ref.isprintable() else ""


def of_blob(connection: Connection, digest: Digest, limit: int) -> list[FileVersion]:
    """Return up to *limit* versions with these bytes, the oldest first."""
    query = pages.records().where(files.c.sha256 == digest).order_by(files.c.number).limit(limit)
    return pages.read(connection, query)


def count(connection: Connection) -> int:
    """Return the number of versions, including the trash."""
    return connection.execute(select(func.count()).select_from(files)).scalar_one()
