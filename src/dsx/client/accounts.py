"""Accounts of a hub: who you are, users, tokens, shares, the audit log."""

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
"""Something to limit a token to, or to share; a record of a file stands for all its versions."""


class AccountOperations:
    """The part of the client that deals with accounts: ``client.accounts``."""

    def __init__(self, connection: Connection) -> None:
        """Accounts of the server that *connection* leads to."""
        self._connection = connection

    def whoami(self) -> AccountInfo:
        """Who your credential says you are, and what you may do with it."""
        return AccountInfo.read(self._connection.json("GET", f"{API}/account"))

    def usage(self) -> UsageInfo:
        """What you store, and may store at most."""
        return UsageInfo.read(self._connection.json("GET", f"{API}/account/usage"))

    def users(self, limit: int | None = None) -> Iterator[UserInfo]:
        """All accounts by number; for admins."""
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
        """Make an account: admins for anybody, others with an *invite* or where that is open."""
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
        """Change what is given; a quota of -1 goes back to the hub's default.

        Admins change anything; others their own password, telling the current one.
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
        """End an account, its tokens, shares, uploads and tasks; for admins.

        Args:
            username: whose.
            heir: who gets its files; None: they go to the trash of the hub's own key.
            days: for how long they are there; None: as long as any file, 0: for the shortest time.
        """
        answer = self._connection.json(
            "DELETE", USERS + segments(username), params=_given({"heir": heir, "days": days})
        )
        return DepartureInfo.model_validate(answer)

    def invite(self, role: str = "member", seconds: float | None = None) -> TokenInfo:
        """An invitation to sign up once, its secret in ``token``; for admins."""
        return self._token(f"{API}/invites", {"role": role, "seconds": seconds})

    def create_token(
        self,
        name: str,
        scopes: Sequence[str] = ("read",),
        *,
        places: Sequence[Place] | None = None,
        seconds: float | None = None,
    ) -> TokenInfo:
        """A credential for a program, its secret in ``token``: keep that, nobody tells it again.

        Args:
            name: to tell it by.
            scopes: any of ``read``, ``write``, ``delete``, ``admin`` that you have.
            places: where it is good; None: everywhere.
            seconds: for how long; None: until it is revoked.
        """
        limits = None if places is None else [_place(place) for place in places]
        new = {"name": name, "scopes": list(scopes), "places": limits, "seconds": seconds}
        return self._token(TOKENS, new)

    def tokens(self) -> list[TokenInfo]:
        """Your tokens, oldest first, and when each was last used."""
        items = self._connection.items("GET", TOKENS)
        return [TokenInfo.read(item) for item in items]

    def revoke_token(self, token: str | TokenInfo) -> None:
        """End a token, by record or id, at once and everywhere."""
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
        """Let *user* read *place*, or (None) whoever has the link in the answer's ``url``.

        Args:
            place: what to share; what is added to a category or prefix later is shared, too.
            user: with whom.
            seconds: for how long; None: until the share is ended.
            password: what the link asks for besides.
            downloads: how often the link may be used.
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
        """What you share, oldest first."""
        for item in self._pages(SHARES, {}, limit, "after"):
            yield ShareInfo.read(item)

    def received(self) -> list[ShareInfo]:
        """What others share with you; ``owner`` is the name of who does."""
        items = self._connection.items("GET", f"{SHARES}/received")
        return [ShareInfo.read(item) for item in items]

    def end_share(self, share: str | ShareInfo) -> None:
        """From now on nobody can use it."""
        id_ = share.id if isinstance(share, ShareInfo) else share
        self._connection.request("DELETE", SHARES + segments(id_))

    def audit(
        self, limit: int | None = None, *, user: str | None = None, refused: bool = False
    ) -> Iterator[AuditInfo]:
        """What was done, newest first, or what was *refused*; admins see everybody's entries."""
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
        """Items of a list whose answers say with what *where* the next page begins."""
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
