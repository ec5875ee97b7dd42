"""What must hold for a file to be stored, changed or deleted. Inside the caller's transaction."""

from __future__ import annotations

from sqlalchemy import Connection

from dsx.catalog import blobs as blob_records
from dsx.catalog import files as records
from dsx.core.errors import PreconditionFailed
from dsx.core.model import ANY, BlobInfo, FileVersion, Given, NewFile
from dsx.core.principals import Principal, Scope
from dsx.hub.accounts import access


def claimed(
    connection: Connection, principal: Principal, ref: str, scope: Scope, *, trashed: bool = False
) -> FileVersion:
    """Return the version after locking its owner's files: see `records.lock_owner`.

    Raises what `access.file` raises.
    """
    version = access.file(connection, principal, ref, scope, trashed=trashed)
    records.lock_owner(connection, version.owner)
    return access.file(connection, principal, ref, scope, trashed=trashed)


def allow(
    principal: Principal,
    new: NewFile,
    connection: Connection,
    *,
    only_if_absent: bool,
    only_if_match: frozenset[str] | None,
) -> None:
    """Raise `Denied` or `PreconditionFailed` unless *principal* may store *new* under its name.

    `Unauthenticated` if the credential has ended since the request began.
    """
    access.require_present(connection, principal)
    access.require_name(connection, principal, new.name, new.category)
    if only_if_absent:
        refuse_taken(connection, new.owner, new.name)
    if only_if_match is not None:
        require_match(records.find(connection, new.owner, new.name), only_if_match)


def require_match(version: FileVersion | None, digests: frozenset[str] | None) -> None:
    """Raise `PreconditionFailed` unless *version* has one of *digests*; None: no condition."""
    if digests is None:
        return
    if version is None:
        raise PreconditionFailed("If-Match: there is no file of that name.")
    if digests != ANY and version.sha256 not in digests:
        raise PreconditionFailed("If-Match: the file has changed.")


def unchanged(
    connection: Connection, new: NewFile, blob: BlobInfo, given: Given
) -> FileVersion | None:
    """Return the existing version if it already has these values and intact bytes."""
    before = records.find(connection, new.owner, new.name)
    if before is None or before.sha256 != blob.digest or not given.agrees(before):
        return None
    return before if blob_records.get(connection, blob.digest) else None


def refuse_taken(connection: Connection, owner: str, name: str) -> None:
    """Raise `PreconditionFailed` if the owner has a live file of that name."""
    if records.find(connection, owner, name) is not None:
        raise PreconditionFailed(f"A file named {name!r} already exists.")
