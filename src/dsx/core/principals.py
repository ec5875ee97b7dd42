"""Who may ask, and for what: accounts, tokens, shares, and the principal they all resolve to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from dsx.core.model import Micros

Role = Literal["admin", "member", "reader"]
Scope = Literal["read", "write", "delete", "admin"]
PlaceKind = Literal["file", "category", "prefix", "dataset"]

SERVICE = "admin"
"""Owner id of the service principal, which every configured API key is."""
ROLES: tuple[Role, ...] = get_args(Role)
SCOPES: tuple[Scope, ...] = get_args(Scope)
PLACES: tuple[PlaceKind, ...] = get_args(PlaceKind)
OWN: frozenset[Scope] = frozenset({"read", "write", "delete"})
OF_ROLE: dict[Role, frozenset[Scope]] = {
    "admin": frozenset(SCOPES),
    "member": OWN,
    "reader": frozenset({"read"}),
}
"""What each role may do at most; a token may allow less, never more."""


@dataclass(frozen=True, slots=True)
class ResourceScope:
    """A part of what an owner has.

    Attributes:
        kind: one ``file`` (with all its versions), the files of a ``category``, those below a
            ``prefix``, or a ``dataset``.
        value: the file's id (`FileVersion.file`), or the name of the others. A prefix always ends
            with ``/``, however it was given: ``proj`` is ``proj/``, never ``project/``.
    """

    kind: PlaceKind
    value: str

    def __post_init__(self) -> None:
        """End a prefix where a path segment ends; this holds for records made before, too."""
        if self.kind == "prefix":
            object.__setattr__(self, "value", self.value.rstrip("/") + "/")

    def holds(self, file: str, name: str, category: str) -> bool:
        """Whether a file lies in it."""
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
"""Some parts of what an owner has; None: all of it."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is asking.

    Attributes:
        id: the owner of what it stores: a user's id, or ``admin`` for the service principal.
        name: for people.
        number: the user's small integer; 0 for the service principal.
        scopes: what it may do.
        places: where it may do that; None: everywhere. A token may be limited to some places.
        link: it holds nothing but a share link: it may read `places` of the owner `id`.
        partial: it holds a token that allows less than its owner may do.
        expires: when the token that it holds ends; None: not by itself, or it holds none.
        via: id of the token, session or share that was shown; empty for a password or a key.
        address: where the request came from.
        generation: of the account, as `User.generation`; 0 for who has none.
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
        """Whether everything is open to it: what is good in some places only administers none."""
        return "admin" in self.scopes and self.places is None and not self.link


@dataclass(frozen=True, slots=True)
class User:
    """An account.

    Attributes:
        id: UUIDv7; the owner of its files.
        number: small integer, never reused.
        password: Argon2id hash; None: signs in elsewhere (OIDC).
        quota_bytes: of all its versions, the trash included; None: the hub's default.
        quota_files: how many versions; None: the hub's default.
        generation: grows when a password or a role changes: older signed tokens end.
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
    """A credential of a user's own; the secret itself is shown once and kept nowhere.

    Attributes:
        kind: ``token`` for programs, ``session`` for a browser, ``invite`` to sign up with.
        scopes: what it allows, as far as its owner's role does.
        places: where; None: everywhere.
        used: when it was last shown, to about a minute; None: never.
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
    """A place that its owner lets others read: one user, or whoever has a link.

    Attributes:
        grantee: the user's id; None: it is a link.
        password: Argon2id hash of what a link asks for besides; None: nothing.
        downloads: how often a link may be used; None: any number.
        downloaded: how often it was.
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
        principal: owner id of who did it; empty: nobody known.
        name: the user's name; None: no account's.
        via: the token, session or share that was shown.
        action: what was done, as ``file.create``.
        target: to what.
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
