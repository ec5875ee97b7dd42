"""Access rules for principals of every protocol. No other module has any.

Each account has a space of its own and owns what is in it. Others read what is shared with them;
admins read and change everything. A token allows at most what its owner may do, possibly limited to
some places; a share link gives read access to one place. Whatever a principal may not know of looks
as if it did not exist.

Use cases call these functions first, so that no protocol can omit the check.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from dsx.catalog import files, shares, tasks, tokens, uploads, users
from dsx.core.errors import Denied, NotFound, Unauthenticated
from dsx.core.model import FileVersion, Micros, Page
from dsx.core.principals import (
    SERVICE,
    Principal,
    ResourceScope,
    ResourceScopes,
    Scope,
)
from dsx.core.transfers import Task, TaskKind, Upload
from dsx.hub.accounts.principals import principal_of
from dsx.hub.clock import SECOND, now

ADMIN = SERVICE
ANONYMOUS = "anonymous"
"""Owner id of unauthenticated callers."""

_OF_TASKS: dict[TaskKind | None, Scope] = {
    None: "read",
    "upload": "write",
    "download": "read",
    "delete": "delete",
    "empty": "delete",
}
"""Scopes that making or controlling tasks of each kind needs; for None see `require_task`."""
_EFFECT = {"read": "read", "write": "store or change", "delete": "delete", "admin": "administer"}


def require(principal: Principal, scope: Scope, *, links: bool = False) -> None:
    """Raise `Denied` unless *principal* has *scope*; share links never do unless *links*."""
    held = principal.admin if scope == "admin" else scope in principal.scopes
    if not held or (principal.link and not links):
        raise Denied(
            f"This account or token may not {_EFFECT[scope]} here; it needs the scope {scope!r}.",
            {"scope": scope},
        )


def require_present(connection: Connection, principal: Principal) -> None:
    """Raise `Unauthenticated` if the account, or the token used, has ended since the request began.

    For work long after authentication: a body may take hours to arrive.
    """
    if principal.via and not tokens.is_known(connection, principal.via, now()):
        raise Unauthenticated(
            "The token expired or was revoked during the request; nothing is stored."
        )
    if not principal.number:
        return
    user = users.by_id(connection, principal.id)
    if user is None or user.disabled:
        raise Unauthenticated(
            "The account was disabled or deleted during the request; nothing is stored."
        )
    if principal.via:
        require(principal_of(user), "write")
    elif user.generation != principal.generation:
        raise Unauthenticated("The account's password or role has changed; sign in again.")


def require_task(principal: Principal, kind: TaskKind | None) -> None:
    """Raise `Denied` unless *principal* may make or control tasks of that kind.

    Tasks without a kind do nothing yet: any scope is enough, except for share links.
    """
    if kind is None and principal.scopes and not principal.link:
        return
    require(principal, _OF_TASKS[kind])


def require_account(principal: Principal) -> None:
    """Raise `Denied` unless *principal* is a full account: no anonymous, link or limited token."""
    if principal.link or principal.places is not None:
        raise Denied("Share links and tokens limited to some places may not do this.")
    if principal.id == ANONYMOUS:
        raise Denied("This needs an account: sign in.")


def require_whole(principal: Principal) -> None:
    """Raise `Denied` for tokens with fewer scopes than their owner: they manage no credentials.

    Credentials are all means to sign in later: tokens, accounts, invitations, passwords, roles, and
    enabling a disabled account.
    """
    require_account(principal)
    if principal.partial:
        raise Denied("A token with fewer scopes than its owner may not do this.")


def ends(principal: Principal, instant: Micros, seconds: float | None) -> Micros | None:
    """Return when a credential or share made now expires; *seconds* None: never.

    Not later than the token that made it. Sessions and signed tokens set no such bound: they stand
    for a sign-in.
    """
    found = [] if seconds is None else [instant + int(seconds * SECOND)]
    if principal.expires is not None:
        found.append(principal.expires)
    return min(found, default=None)


def require_place(principal: Principal, name: str, category: str, file: str = "") -> None:
    """Raise `Denied` unless the limits of *principal* include a file of that name and category."""
    if not _within(principal.places, file, name, category):
        raise Denied(
            "The token does not cover this file: see places for its limits.",
            {"places": [f"{place.kind}:{place.value}" for place in principal.places or ()]},
        )


def require_name(connection: Connection, principal: Principal, name: str, category: str) -> None:
    """Check `require_place` for a new file, or for all versions of the one of that name."""
    if principal.places is None:
        return
    taken = files.find(connection, principal.id, name)
    require_place(principal, name, category, taken.file if taken else "")
    if taken is not None:
        _require_all(connection, principal, taken.file)


def file(
    connection: Connection,
    principal: Principal,
    ref: str,
    scope: Scope = "read",
    *,
    trashed: bool = False,
) -> FileVersion:
    """Return the version with this id or number, if *principal* may do *scope* with it.

    `NotFound` if there is none, or none *principal* may know of; `Denied` if it may only be read.
    """
    require(principal, scope, links=True)
    version = files.get(connection, ref, trashed=trashed)
    if version.owner == principal.id:
        if _within(principal.places, version.file, version.name, version.category):
            if scope != "read":
                _require_all(connection, principal, version.file)
            return version
    elif principal.admin:
        return version
    elif not trashed and _shared(connection, principal, version):
        if scope == "read":
            return version
        raise Denied("The file belongs to another user and is read-only for you.")
    raise hidden(files.unknown(ref, trashed=trashed))


def versions(
    connection: Connection, principal: Principal, ref: str, limit: int, cursor: str | None
) -> Page:
    """Return one page of the readable versions of the file of *ref*, newest first."""
    whose = file(connection, principal, ref)
    places: ResourceScopes = None
    if whose.owner == principal.id:
        places = principal.places
    elif not principal.admin:
        places = shares.granted(connection, whose.owner, principal.id, now())
    return files.list_versions(connection, whose.file, limit, cursor, places)


def version(
    connection: Connection,
    principal: Principal,
    ref: str,
    number: int,
    scope: Scope = "read",
    *,
    trashed: bool = False,
) -> FileVersion:
    """Return version *number*, from 1 on, of the file of *ref*; raises what `file` raises."""
    whose = file(connection, principal, ref, scope, trashed=trashed)
    found = files.find_version(connection, whose.file, number, trashed=trashed)
    if found is None:
        where = " in the trash" if trashed else ""
        raise NotFound(f"{whose.name!r} has no version {number}{where}.", {"version": number})
    return file(connection, principal, str(found.number), scope, trashed=trashed)


def find(
    connection: Connection, principal: Principal, name: str, scope: Scope = "read"
) -> FileVersion:
    """Return the newest version of the principal's own file of exactly this name, or `NotFound`."""
    require(principal, scope, links=True)
    version = files.find(connection, principal.id, name)
    if version is None or not _within(principal.places, version.file, name, version.category):
        raise NotFound(f"There is no file named {name!r}.", {"name": name})
    if scope != "read":
        _require_all(connection, principal, version.file)
    return version


def find_many(
    connection: Connection, principal: Principal, names: Sequence[str]
) -> list[FileVersion]:
    """Return the newest versions of the principal's own files of these names within its limits."""
    whose, places = space(connection, principal, None)
    found = files.find_many(connection, whose, names)
    return [one for one in found if _within(places, one.file, one.name, one.category)]


def many(connection: Connection, principal: Principal, refs: Sequence[str]) -> list[FileVersion]:
    """Return versions to read, in the order of *refs*; `NotFound` for an unreadable one.

    The same rules as `file`, in one query: *refs* are some hundred.
    """
    require(principal, "read", links=True)
    found = files.get_many(connection, refs)
    granted: dict[str, Sequence[ResourceScope]] = {}
    for ref in refs:
        version = found.get(ref)
        if version is None:
            raise hidden(files.unknown(ref))
        if version.owner == principal.id:
            may = _within(principal.places, version.file, version.name, version.category)
        else:
            may = principal.admin or _shared(connection, principal, version, granted)
        if not may:
            raise hidden(files.unknown(ref))
    return [found[ref] for ref in refs]


def space(
    connection: Connection, principal: Principal, owner: str | None
) -> tuple[str, ResourceScopes]:
    """Return the owner and limits of a listing; *owner* None: the principal itself.

    *owner* is a user's name. `NotFound` if it shares nothing with *principal*, or does not exist.
    """
    require(principal, "read", links=True)
    if owner is None or owner == principal.name:
        return principal.id, principal.places
    user = users.find(connection, owner)
    id_ = user.id if user else ADMIN if owner == ADMIN else None
    if id_ is not None and principal.admin:
        return id_, None
    granted = shares.granted(connection, id_, principal.id, now()) if id_ else []
    if id_ is None or not granted or principal.places is not None:
        raise hidden(NotFound(f"{owner!r} shares no files with you."))
    return id_, granted


def upload(
    connection: Connection, principal: Principal, found: Upload, scope: Scope = "read"
) -> Upload:
    """Return *found*, an upload of the principal, if *principal* may do *scope* with it."""
    if principal.places is None:
        return found
    if not _reaches(connection, principal, found):
        raise hidden(NotFound(f"There is no upload {found.id!r}."))
    if scope == "write" and found.state == "open" and found.name is not None:
        require_name(connection, principal, found.name, found.category)
    return found


def task(connection: Connection, principal: Principal, found: Task) -> bool:
    """Return whether *principal*, the owner of the task, may know of it.

    A limited token sees only tasks within its limits.
    """
    if principal.places is None:
        return True
    if found.kind is None:
        return found.subject.get("via") == principal.via
    if found.kind == "upload":
        about = uploads.find(connection, found.owner, found.id)
        return about is not None and _reaches(connection, principal, about)
    concerned = files.where_are(connection, found.subject.get("files", []))
    return all(_within(principal.places, *one) for one in concerned)


def own_task(connection: Connection, principal: Principal, id_: str) -> Task:
    """Return the principal's task of that id; `NotFound` if there is none that it may know of."""
    if principal.link:
        require(principal, "read")  # refuses links
    found = tasks.get(connection, principal.id, id_)
    if not task(connection, principal, found):
        raise hidden(NotFound(f"There is no task {id_!r}."))
    return found


def dataset(connection: Connection, principal: Principal, name: str, *, everyone: bool) -> bool:
    """Return whether *principal* may read that dataset; *everyone*: all accounts may.

    Tokens limited to a dataset, and links to one, give no more access than their owner has.
    """
    place = ResourceScope("dataset", name)
    if "read" not in principal.scopes:
        return False
    if principal.places is not None and place not in principal.places:
        return False
    return (
        everyone
        or principal.admin
        or (principal.places is not None and _operates(connection, principal.id))
        or shares.dataset_granted(connection, name, principal.id, now())
    )


def owns(connection: Connection, principal: Principal, place: ResourceScope) -> ResourceScope:
    """Return *place* in the form to share; `NotFound` or `Denied` if that is not allowed."""
    require_account(principal)
    require(principal, "write")
    require(principal, "read")  # making a share also reveals what exists
    if place.kind == "dataset" and not principal.admin:
        raise Denied("Datasets in place belong to the operator: ask an admin to share them.")
    if place.kind != "file":
        return place
    version = file(connection, principal, place.value)
    if version.owner != principal.id:
        raise Denied("The file belongs to another user: ask its owner to share it.")
    return ResourceScope("file", version.file)


def hidden(error: NotFound) -> NotFound:
    """Mark *error*, which may hide something the caller may not access, for the audit log."""
    error.refused = True
    return error


def _operates(connection: Connection, owner: str) -> bool:
    """Return whether *owner* is an admin, who may share datasets in place."""
    user = None if owner == ADMIN else users.by_id(connection, owner)
    return owner == ADMIN or (user is not None and user.role == "admin" and not user.disabled)


def _within(places: ResourceScopes, file_: str, name: str, category: str) -> bool:
    return places is None or any(place.holds(file_, name, category) for place in places)


def _reaches(connection: Connection, principal: Principal, found: Upload) -> bool:
    """Return whether a limited token may know of an upload of its owner.

    Partial uploads have no name: they belong to the token that began them.
    """
    if found.name is None:
        return found.via == principal.via
    taken = files.find(connection, principal.id, found.name)
    return _within(principal.places, taken.file if taken else "", found.name, found.category)


def _lies_within(principal: Principal, version: FileVersion) -> bool:
    return _within(principal.places, version.file, version.name, version.category)


def _require_all(connection: Connection, principal: Principal, file_: str) -> None:
    """Raise `Denied` unless all versions are in scope: each has a category of its own."""
    if principal.places is None:
        return
    if not all(_lies_within(principal, one) for one in files.versions(connection, file_)):
        raise Denied("The token does not cover all versions of that file.")


def _shared(
    connection: Connection,
    principal: Principal,
    version: FileVersion,
    known: dict[str, Sequence[ResourceScope]] | None = None,
) -> bool:
    """Return whether the owner shares *version*; *known* caches what each owner shares."""
    if principal.places is not None:
        return False
    known = {} if known is None else known
    if version.owner not in known:
        known[version.owner] = shares.granted(connection, version.owner, principal.id, now())
    return _within(known[version.owner], version.file, version.name, version.category)
