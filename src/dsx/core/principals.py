"""Accounts, tokens, shares, and the principal that credentials resolve to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from dsx.core.model import Micros

Role = Literal["admin", "member", "reader"]
Scope = Literal["read", "write", "delete", "admin"]
PlaceKind = Literal["file", "category", "prefix", "dataset"]

SERVICE = "admin"
"""Owner id of the service principal, shared by all configured API keys."""
ROLES: tuple[Role, ...] = get_args(Role)
SCOPES: tuple[Scope, ...] = get_args(Scope)
PLACES: tuple[PlaceKind, ...] = get_args(PlaceKind)
OWN: frozenset[Scope] = frozenset({"read", "write", "delete"})
OF_ROLE: dict[Role, frozenset[Scope]] = {
    "admin": frozenset(SCOPES),
    "member": OWN,
    "reader": frozenset({"read"}),
}
"""Maximum scopes of each role; a token may have fewer, never more."""


@dataclass(frozen=True, slots=True)
class ResourceScope:
    """A part of an owner's resources.

    Attributes:
        kind: one ``file`` (with all its versions), the files of a ``category``, those below a
            ``prefix``, or a ``dataset``.
        value: the file's id (`FileVersion.file`), or the name of the others. A prefix always ends
            with ``/``, however it was given: ``proj`` is ``proj/``, never ``project/``.
    """

    kind: PlaceKind
    value: str

    def __post_init__(self) -> None:
        """End a prefix with a slash, also in records made before this rule."""
        if self.kind == "prefix":
            object.__setattr__(self, "value", self.value.rstrip("/") + "/")

    def holds(self, file: str, name: str, category: str) -> bool:
        """Return whether a file is in scope."""
        match self.kind:
            case "file":
                return file == self.value
            case "category":
                return category == self.value
            case "prefix":
                return name.startswith(self.value)
            case "dataset":
                return False


ResourceScopes = Sequence[ResourceScope] | None
"""Limits to parts of an owner's resources; None: no limits."""


@dataclass(frozen=True, slots=True)
class Principal:
    """The authenticated caller.

    Attributes:
        id: the owner of what it stores: a user's id, or ``admin`` for the service principal.
        name: for display.
        number: the user's small integer; 0 for the service principal.
        scopes: permitted actions.
        places: what they are limited to; None: no limits. A token may be limited to some places.
        link: authenticated by a share link alone: it may read `places` of the owner `id`.
        partial: authenticated by a token with fewer scopes than its owner.
        expires: when its token expires; None: never, or it has none.
        via: id of the token, session or share used; empty for a password or a key.
        address: where the request came from.
        generation: of the account, as `User.generation`; 0 without an account.
    """

    id: str
    name: str = ""
    number: int = 0
    scopes: frozenset[Scope] = OWN
    places: tuple[ResourceScope, ...] | None = None
    link: bool = False
    partial: bool = False
    expires: Micros | None = None
    via: str = ""
    address: str = ""
    generation: int = 0

    @property
    def admin(self) -> bool:
        """Whether it may access everything: limited tokens never administer."""
        return "admin" in self.scopes and self.places is None and not self.link


@dataclass(frozen=True, slots=True)
class User:
    """An account.

    Attributes:
        id: UUIDv7; the owner of its files.
        number: small integer, never reused.
        password: Argon2id hash; None: signs in at the external provider (OIDC).
        quota_bytes: for all its versions, the trash included; None: the hub's default.
        quota_files: number of versions; None: the hub's default.
        generation: grows when a password or a role changes, which ends older signed tokens.
    """

    id: str
    number: int
    name: str
    role: Role
    password: str | None
    quota_bytes: int | None
    quota_files: int | None
    disabled: bool
    generation: int
    created: Micros


@dataclass(frozen=True, slots=True)
class Token:
    """A user's credential; the secret itself is shown once and not stored.

    Attributes:
        kind: ``token`` for programs, ``session`` for a browser, ``invite`` to sign up with.
        scopes: granted scopes, within its owner's role.
        places: what it is limited to; None: no limits.
        used: when it was last used, to about a minute; None: never.
    """

    id: str
    owner: str
    kind: Literal["token", "session", "invite"]
    name: str
    scopes: frozenset[Scope]
    places: tuple[ResourceScope, ...] | None
    created: Micros
    expires: Micros | None
    used: Micros | None


@dataclass(frozen=True, slots=True)
class Share:
    """A resource scope that its owner lets one user read, or holders of a link.

    Attributes:
        grantee: the user's id; None: it is a link.
        password: Argon2id hash of the link's password; None: none.
        downloads: how often a link may be used; None: no limit.
        downloaded: how often it was used.
    """

    id: str
    owner: str
    place: ResourceScope
    grantee: str | None
    password: str | None
    downloads: int | None
    downloaded: int
    created: Micros
    expires: Micros | None


@dataclass(frozen=True, slots=True)
class Event:
    """An entry of the audit log.

    Attributes:
        principal: owner id of the caller; empty: unknown.
        name: the user's name; None: no account.
        via: the token, session or share used.
        action: such as ``file.create``.
        target: the object of the action.
        outcome: ``done`` or ``refused``.
    """

    number: int
    at: Micros
    principal: str
    name: str | None
    via: str
    address: str
    action: str
    target: str
    outcome: str
    details: dict[str, Any]
