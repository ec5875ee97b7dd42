"""The JSON of accounts, tokens, shares and the audit log."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field

from dsx.core import principals
from dsx.core.principals import PlaceKind, ResourceScope, Role, Scope
from dsx.hub import departures
from dsx.hub.accounts.shares import Called
from dsx.hub.accounts.users import Usage
from dsx.hub.clock import time_text

_ID = "019a9f3c-0000-7000-8000-00000000000b"
_YEARS = 10 * 366 * 24 * 3600
UserName = Annotated[str, Path(description="Name of a user.", examples=["alice"], max_length=64)]
Id = Annotated[
    str, Path(description="Id from the list or creation response.", examples=[_ID], max_length=64)
]
Secret = Annotated[str, Field(max_length=1024)]
Seconds = Annotated[float, Field(gt=0, le=_YEARS)]
Quota = Annotated[int, Field(ge=-1, le=(1 << 62) - 1)]


class SignUp(BaseModel):
    """An account to create."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"username": "alice", "password": "correct horse"}]},
    )

    username: str = Field(max_length=64, description="Letters, digits and ._@+-")
    password: Secret = Field(description="8 to 256 characters.")
    invite: Secret | None = Field(None, description="Invitation, if sign-up requires one.")
    role: Role | None = Field(None, description="Only admins may set it; default: member.")


class User(BaseModel):
    """An account."""

    id: str = Field(description="Public id; the `owner` of the user's files.")
    number: int = Field(description="Small integer id, never reused.")
    username: str
    role: Role
    disabled: bool
    quota_bytes: int | None = Field(description="Null: the hub's default applies.")
    quota_files: int | None = Field(description="Null: the hub's default applies.")
    created: str

    @classmethod
    def of(cls, user: principals.User) -> Self:
        """The JSON of *user*."""
        return cls(
            id=user.id,
            number=user.number,
            username=user.name,
            role=user.role,
            disabled=user.disabled,
            quota_bytes=user.quota_bytes,
            quota_files=user.quota_files,
            created=time_text(user.created),
        )


class UserList(BaseModel):
    """Accounts, ordered by number."""

    items: list[User]
    next: int | None = Field(description="`after` of the next page; null on the last.")


class UserPatch(BaseModel):
    """Changes to an account; absent fields stay as they are."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"role": "reader"}]})

    role: Role | None = None
    disabled: bool | None = None
    quota_bytes: Quota | None = Field(None, description="-1 restores the hub's default.")
    quota_files: Quota | None = Field(None, description="-1 restores the hub's default.")
    password: Secret | None = None
    current_password: Secret | None = Field(
        None, description="Required to change your own password."
    )


class Departure(BaseModel):
    """A deleted account."""

    username: str
    files: int = Field(description="Number of files it left, including those in its trash.")
    heir: str | None = Field(
        description="Account that received them; null: the trash of the hub's API key."
    )

    @classmethod
    def of(cls, departure: departures.Departure) -> Self:
        """The JSON of *departure*."""
        return cls(username=departure.name, files=departure.files, heir=departure.heir)


class Me(BaseModel):
    """The account behind a credential, and its permissions."""

    id: str
    number: int
    username: str
    scopes: list[Scope]
    places: list[PlaceModel] | None = Field(description="Where it is valid; null: everywhere.")

    @classmethod
    def of(cls, principal: principals.Principal) -> Self:
        """The JSON of *principal*."""
        return cls(
            id=principal.id,
            number=principal.number,
            username=principal.name,
            scopes=sorted(principal.scopes),
            places=PlaceModel.all_of(principal.places),
        )


class UsageModel(BaseModel):
    """Storage used, including old versions and trash, and the quotas."""

    bytes: int
    files: int
    staged: int = Field(description="Bytes reserved by unfinished uploads; they count.")
    quota_bytes: int | None = Field(description="Null: unlimited.")
    quota_files: int | None = Field(description="Null: unlimited.")

    @classmethod
    def of(cls, usage: Usage) -> Self:
        """The JSON of *usage*."""
        return cls(
            bytes=usage.bytes,
            files=usage.files,
            staged=usage.staged,
            quota_bytes=usage.quota_bytes,
            quota_files=usage.quota_files,
        )


class PlaceModel(BaseModel):
    """Part of a space: a file (by id or number), a category, a name prefix or a dataset.

    A prefix ends at a slash: `proj` covers everything below `proj/` and nothing else.
    """

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"kind": "category", "value": "train"}]}
    )

    kind: PlaceKind
    value: str = Field(min_length=1, max_length=1024)

    def place(self) -> ResourceScope:
        """The scope it describes."""
        return ResourceScope(self.kind, self.value)

    @classmethod
    def all_of(cls, places: tuple[ResourceScope, ...] | None) -> list[Self] | None:
        """The JSON of *places*."""
        if places is None:
            return None
        return [cls(kind=place.kind, value=place.value) for place in places]


class NewToken(BaseModel):
    """A token to create."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"name": "laptop", "scopes": ["read"]}]}
    )

    name: str = Field("token", min_length=1, max_length=100, description="Label.")
    scopes: list[Scope] = Field(["read"], min_length=1, max_length=4)
    places: list[PlaceModel] | None = Field(
        None, min_length=1, max_length=100, description="Where it is valid; null: everywhere."
    )
    seconds: Seconds | None = Field(None, description="Lifetime; null: until revoked.")


class Token(BaseModel):
    """A token, without its secret."""

    id: str
    name: str
    scopes: list[Scope]
    places: list[PlaceModel] | None
    created: str
    expires: str | None
    used: str | None = Field(description="Time of last use, to about a minute.")

    @classmethod
    def of(cls, token: principals.Token) -> Self:
        """The JSON of *token*."""
        return cls(
            id=token.id,
            name=token.name,
            scopes=sorted(token.scopes),
            places=PlaceModel.all_of(token.places),
            created=time_text(token.created),
            expires=None if token.expires is None else time_text(token.expires),
            used=None if token.used is None else time_text(token.used),
        )


class MadeToken(Token):
    """A new token with its secret, which is returned only here."""

    token: str = Field(description="The secret. Store it: it cannot be retrieved again.")

    @classmethod
    def made(cls, token: principals.Token, secret: str) -> Self:
        """The JSON of *token* with its *secret*."""
        return cls(**Token.of(token).model_dump(), token=secret)


class TokenList(BaseModel):
    """Your tokens, oldest first."""

    items: list[Token]


class NewInvite(BaseModel):
    """An invitation to create."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"role": "member"}]})

    role: Role = "member"
    seconds: Seconds = Field(7 * 24 * 3600, description="Lifetime.")


class SignIn(BaseModel):
    """An account's name and password."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"username": "alice", "password": "correct horse"}]},
    )

    username: str = Field(max_length=256)
    password: Secret


class NewShare(BaseModel):
    """Something to share: with a user or, if none is named, by a link."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"place": {"kind": "file", "value": "1"}, "user": "bob"}]},
    )

    place: PlaceModel
    user: str | None = Field(None, max_length=64, description="Recipient; null: create a link.")
    seconds: Seconds | None = Field(None, description="Lifetime; null: until revoked.")
    password: Secret | None = Field(None, description="Password that the link requires.")
    downloads: int | None = Field(
        None, ge=1, le=1_000_000_000, description="Maximum number of downloads by the link."
    )


class Share(BaseModel):
    """A share, without its secret."""

    id: str
    place: PlaceModel
    kind: Literal["user", "link"]
    owner: str = Field(description="The owner's id; in received shares, the owner's name.")
    grantee: str | None = Field(None, description="Name of the user it is shared with.")
    name: str | None = Field(None, description="Name of the file, if a file is shared.")
    password: bool = Field(description="Whether the link requires a password.")
    there: bool = Field(True, description="False if the file has been deleted.")
    downloads: int | None
    downloaded: int
    created: str
    expires: str | None

    @classmethod
    def of(cls, share: principals.Share, called: Called | None = None) -> Self:
        """The JSON of *share*, with the names in *called*."""
        called = called or Called()
        return cls(
            id=share.id,
            place=PlaceModel(kind=share.place.kind, value=share.place.value),
            kind="link" if share.grantee is None else "user",
            owner=called.owner or share.owner,
            grantee=called.grantee,
            name=called.file,
            there=called.there,
            password=share.password is not None,
            downloads=share.downloads,
            downloaded=share.downloaded,
            created=time_text(share.created),
            expires=None if share.expires is None else time_text(share.expires),
        )


class MadeShare(Share):
    """A new share."""

    url: str | None = Field(None, description="The link, returned only here; null: no link.")


class ShareList(BaseModel):
    """Shares, oldest first."""

    items: list[Share]
    next: str | None = Field(None, description="`after` of the next page; null on the last.")


class Entry(BaseModel):
    """One action or refused attempt."""

    number: int
    at: str
    principal: str = Field(description="Owner id; empty: unauthenticated.")
    username: str | None
    via: str = Field(description="Id of the token, session or share used.")
    address: str
    action: str
    target: str
    outcome: str
    details: dict[str, Any]

    @classmethod
    def of(cls, event: principals.Event) -> Self:
        """The JSON of *event*."""
        return cls(
            number=event.number,
            at=time_text(event.at),
            principal=event.principal,
            username=event.name,
            via=event.via,
            address=event.address,
            action=event.action,
            target=event.target,
            outcome=event.outcome,
            details=event.details,
        )


class AuditLog(BaseModel):
    """Entries, newest first."""

    items: list[Entry]
    next: int | None = Field(description="`before` of the next page; null on the last.")


Me.model_rebuild()
