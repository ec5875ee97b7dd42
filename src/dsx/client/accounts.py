"""Accounts of a hub: your own account, users, tokens, shares and the audit log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dsx.client.http import Connection
from dsx.client.models import (
    AccountInfo,
    AuditInfo,
    DepartureInfo,
    FileInfo,
    PlaceInfo,
    ShareInfo,
    TokenInfo,
    UsageInfo,
    UserInfo,
)
from dsx.client.names import segments

API = "/api/v1"
USERS = f"{API}/users"
TOKENS = f"{API}/tokens"
SHARES = f"{API}/shares"
_PAGE = 1000
Place = PlaceInfo | FileInfo
"""What a token is limited to, or a share covers; a file's record stands for all its versions."""


class AccountOperations:
    """Account operations of the client: ``client.accounts``."""

    def __init__(self, connection: Connection) -> None:
        """Use the server of *connection*."""
        self._connection = connection

    def whoami(self) -> AccountInfo:
        """Return the account of your credential, and what it allows."""
        return AccountInfo.read(self._connection.json("GET", f"{API}/account"))

    def usage(self) -> UsageInfo:
        """Return what you store, and your quotas."""
        return UsageInfo.read(self._connection.json("GET", f"{API}/account/usage"))

    def users(self, limit: int | None = None) -> Iterator[UserInfo]:
        """Iterate over all accounts by number; for admins."""
        for item in self._pages(USERS, {}, limit, "after"):
            yield UserInfo.read(item)

    def create_user(
        self,
        username: str,
        password: str,
        *,
        role: str | None = None,
        invite: str | None = None,
    ) -> UserInfo:
        """Create an account; unless you are an admin, with *invite* or if sign-up is open."""
        new = {"username": username, "password": password, "role": role, "invite": invite}
        return self._user("POST", USERS, new)

    def change_user(
        self,
        username: str,
        *,
        role: str | None = None,
        disabled: bool | None = None,
        quota_bytes: int | None = None,
        quota_files: int | None = None,
        password: str | None = None,
        current_password: str | None = None,
    ) -> UserInfo:
        """Change the given fields of an account; a quota of -1 restores the hub's default.

        Admins can change anything; others only their own password, with *current_password*.
        """
        changes = {
            "role": role,
            "disabled": disabled,
            "quota_bytes": quota_bytes,
            "quota_files": quota_files,
            "password": password,
            "current_password": current_password,
        }
        return self._user("PATCH", USERS + segments(username), changes)

    def delete_user(
        self, username: str, *, heir: str | None = None, days: float | None = None
    ) -> DepartureInfo:
        """Delete an account with its tokens, shares, uploads and tasks; for admins.

        Args:
            username: the account.
            heir: user who gets its files; None: move them to the trash of the hub's own key.
            days: days they stay in the trash; None: the hub's default, 0: as short as possible.
        """
        answer = self._connection.json(
            "DELETE", USERS + segments(username), params=_given({"heir": heir, "days": days})
        )
        return DepartureInfo.model_validate(answer)

    def invite(self, role: str = "member", seconds: float | None = None) -> TokenInfo:
        """Create an invitation to sign up once, its secret in ``token``; for admins."""
        return self._token(f"{API}/invites", {"role": role, "seconds": seconds})

    def create_token(
        self,
        name: str,
        scopes: Sequence[str] = ("read",),
        *,
        places: Sequence[Place] | None = None,
        seconds: float | None = None,
    ) -> TokenInfo:
        """Create a credential for a program; its secret is in ``token``, this once only.

        Args:
            name: a name to recognize it by.
            scopes: any of ``read``, ``write``, ``delete``, ``admin`` that you have.
            places: resources it is limited to; None: no limit.
            seconds: lifetime; None: until it is revoked.
        """
        limits = None if places is None else [_place(place) for place in places]
        new = {"name": name, "scopes": list(scopes), "places": limits, "seconds": seconds}
        return self._token(TOKENS, new)

    def tokens(self) -> list[TokenInfo]:
        """Return your tokens, oldest first, with the time each was last used."""
        items = self._connection.items("GET", TOKENS)
        return [TokenInfo.read(item) for item in items]

    def revoke_token(self, token: str | TokenInfo) -> None:
        """Revoke a token, by record or id, effective immediately."""
        id_ = token.id if isinstance(token, TokenInfo) else token
        self._connection.request("DELETE", TOKENS + segments(id_))

    def share(
        self,
        place: Place,
        user: str | None = None,
        *,
        seconds: float | None = None,
        password: str | None = None,
        downloads: int | None = None,
    ) -> ShareInfo:
        """Let *user* read *place* or, if None, everyone who has the link in the result's ``url``.

        Args:
            place: what to share; files added later to a category or prefix are also shared.
            user: name of the user, or None for a link.
            seconds: lifetime; None: until the share is ended.
            password: password required by the link.
            downloads: maximum number of downloads by the link.
        """
        new = {
            "place": _place(place),
            "user": user,
            "seconds": seconds,
            "password": password,
            "downloads": downloads,
        }
        answer = self._connection.json("POST", SHARES, json=_given(new), retries=0)
        return ShareInfo.read(answer)

    def shares(self, limit: int | None = None) -> Iterator[ShareInfo]:
        """Iterate over your shares, oldest first."""
        for item in self._pages(SHARES, {}, limit, "after"):
            yield ShareInfo.read(item)

    def received(self) -> list[ShareInfo]:
        """Return the shares you have received; ``owner`` is the name of the user who shares."""
        items = self._connection.items("GET", f"{SHARES}/received")
        return [ShareInfo.read(item) for item in items]

    def end_share(self, share: str | ShareInfo) -> None:
        """End a share, by record or id, effective immediately."""
        id_ = share.id if isinstance(share, ShareInfo) else share
        self._connection.request("DELETE", SHARES + segments(id_))

    def audit(
        self, limit: int | None = None, *, user: str | None = None, refused: bool = False
    ) -> Iterator[AuditInfo]:
        """Iterate over the audit log or its refusals, newest first; admins see all entries."""
        params = {"user": user, "outcome": "refused" if refused else None}
        for item in self._pages(f"{API}/audit", params, limit, "before"):
            yield AuditInfo.read(item)

    def _user(self, method: str, path: str, values: Mapping[str, Any]) -> UserInfo:
        answer = self._connection.json(method, path, json=_given(values), retries=0)
        return UserInfo.read(answer)

    def _token(self, path: str, values: Mapping[str, Any]) -> TokenInfo:
        answer = self._connection.json("POST", path, json=_given(values), retries=0)
        return TokenInfo.read(answer)

    def _pages(
        self, path: str, params: Mapping[str, Any], limit: int | None, where: str
    ) -> Iterator[Any]:
        """Iterate over the pages of a list; *where* is the parameter that takes the cursor."""
        cursor: Any = None
        left = limit
        while left is None or left > 0:
            size = min(left or _PAGE, _PAGE)
            items, cursor = self._connection.page(
                "GET", path, params={**params, "limit": size, where: cursor}
            )
            yield from items
            if cursor is None:
                return
            left = None if left is None else left - len(items)


def _place(place: Place) -> dict[str, str]:
    if isinstance(place, FileInfo):
        return {"kind": "file", "value": place.file}
    return {"kind": place.kind, "value": place.value}


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
