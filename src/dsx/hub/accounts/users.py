"""Accounts: sign-up, sign-in, changes, and their quotas."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from prometheus_client import Counter
from sqlalchemy import Connection

from dsx.catalog import tokens, usage, users
from dsx.catalog.database import Catalog
from dsx.core.errors import Denied, NotFound, RateLimited, Unauthenticated, Unprocessable
from dsx.core.principals import OF_ROLE, Principal, Role, Token, User
from dsx.hub.accounts import access
from dsx.hub.accounts.audit import note
from dsx.hub.accounts.passwords import Passwords
from dsx.hub.accounts.principals import principal_of
from dsx.hub.accounts.sign_in_limits import SignInLimiter
from dsx.hub.accounts.signing_keys import SigningKeys
from dsx.hub.accounts.tokens import INVITE, hash_of
from dsx.hub.clock import SECOND, now
from dsx.hub.limits import Limits

SignUp = Literal["open", "invite", "closed"]
_SIGN_INS = Counter("dsx_sign_ins", "Password sign-ins not served from the cache.", ["outcome"])
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")
_RESERVED = {access.ADMIN, access.ANONYMOUS}


@dataclass(frozen=True, slots=True)
class Usage:
    """An owner's usage, versions and trash included, and the quotas.

    Attributes:
        staged: bytes received or reserved for its unfinished uploads; they count as used.
    """

    bytes: int
    files: int
    staged: int
    quota_bytes: int | None
    quota_files: int | None


@dataclass(frozen=True, slots=True)
class UserChanges:
    """Changes to an account; None leaves a field unchanged, a quota of -1 restores the default."""

    role: Role | None = None
    disabled: bool | None = None
    quota_bytes: int | None = None
    quota_files: int | None = None
    password: str | None = None


class Users:
    """The accounts of a hub."""

    def __init__(
        self,
        catalog: Catalog,
        passwords: Passwords,
        throttle: SignInLimiter,
        keyring: SigningKeys,
        *,
        signup: SignUp,
        jwt_ttl: float,
        limits: Limits,
        subjects: bool = False,
    ) -> None:
        """*signup*: who may create accounts; *jwt_ttl*: lifetime of signed tokens in seconds.

        *subjects*: sign-ins at the external provider create accounts even if sign-up is not open.
        """
        self._subjects = subjects or signup == "open"
        self._catalog = catalog
        self._passwords = passwords
        self._throttle = throttle
        self._keyring = keyring
        self._signup = signup
        self._jwt_ttl = int(jwt_ttl)
        self._limits = limits

    async def sign_up(
        self,
        name: str,
        password: str,
        *,
        by: Principal | None = None,
        invite: str | None = None,
        role: Role | None = None,
        address: str = "",
    ) -> User:
        """Create an account. Admins (*by*) may always create one, with any role.

        Not with a token that has fewer scopes than an admin, since an account is worth more. Others
        need open sign-up, or an invitation, which is used up. Raises `Denied` if they may not,
        `AlreadyExists`, `Unprocessable` for unacceptable names and passwords, `RateLimited`.
        """
        if by is not None and "admin" in by.scopes:
            access.require_whole(by)
        by_admin = by is not None and by.admin
        if not by_admin and self._signup == "closed":
            raise Denied("Sign-up is closed here: ask an admin for an account.")
        if not by_admin and self._signup == "invite" and not invite:
            raise Denied("Sign-up needs an invitation here: ask an admin for one.")
        if role is not None and not by_admin:
            raise Denied("Only admins may assign roles.")
        check_name(name)
        if not by_admin and not await self._invited(invite):
            await self._throttle.enter("sign-up", address)
        hashed = await self._passwords.hash(password)

        def work(connection: Connection) -> User:
            given: Role = role or "member"
            if not by_admin and invite:
                given = _invited(connection, invite or "")
            user = users.add(connection, name, given, hashed, now())
            note(connection, by or principal_of(user, None, address), "user.create", name)
            return user

        return await self._catalog.write(work)

    async def sign_in(
        self, name: str, password: str, *, address: str = "", device: str = ""
    ) -> User:
        """Return the user with this name and password; raises `Unauthenticated` or `RateLimited`.

        *device*: the cookie of a browser that has signed in before; see `SignInLimiter.device_of`.
        Unknown names take as long as wrong passwords and give the same answer.
        """
        user = await self._catalog.read(lambda connection: users.find(connection, name))
        hashed = None if user is None or user.disabled else user.password
        if user and hashed and self._passwords.remembers(hashed, password):
            return user
        subject = "" if user is None else user.id
        try:
            attempt = await self._throttle.enter(name, address, subject=subject, device=device)
        except RateLimited:
            _SIGN_INS.labels("limited").inc()
            raise
        if await self._passwords.matches(hashed, password) and user is not None:
            _SIGN_INS.labels("done").inc()
            await self._throttle.succeeded(attempt)
            return user
        _SIGN_INS.labels("failed").inc()
        raise Unauthenticated("The user name or password is wrong.")

    async def unchanged(self, id_: str, generation: int) -> bool:
        """Return whether the account is enabled and its credentials are still of *generation*."""
        user = await self._catalog.read(lambda connection: users.by_id(connection, id_))
        return user is not None and not user.disabled and user.generation == generation

    async def issue_jwt(self, user: User) -> str:
        """Return a signed token for *user* with all scopes of its role, valid for a while."""
        instant = now() // SECOND
        claims = {
            "sub": user.id,
            "gen": user.generation,
            "iat": instant,
            "exp": instant + self._jwt_ttl,
        }
        return await self._keyring.sign(claims)

    async def of_jwt(self, token: str) -> User:
        """Return the user of a valid signed token; else raise `Unauthenticated`."""
        claims = await self._keyring.verify(token)
        user = await self._catalog.read(lambda connection: users.by_id(connection, claims["sub"]))
        if user is None or user.disabled or user.generation != claims.get("gen"):
            raise Unauthenticated("The token is no longer valid; sign in again.")
        return user

    async def of_subject(self, subject: str, wanted: str, *, address: str = "") -> User:
        """Return the account of *subject* at the external provider, created now if that is allowed.

        *wanted* is the preferred name; another one is chosen if it is taken.
        """

        def work(connection: Connection) -> User:
            user = users.by_subject(connection, subject)
            if user is not None:
                return user
            if not self._subjects:
                raise Denied("Sign-up is closed here: ask an admin for an account.")
            users.lock_users(connection)
            user = users.by_subject(connection, subject)
            if user is not None:  # created meanwhile, perhaps from another window
                return user
            name = _free_name(wanted, lambda name: users.find(connection, name) is None)
            user = users.add(connection, name, "member", None, now(), subject=subject)
            principal = principal_of(user, None, address)
            note(connection, principal, "user.create", name, subject=subject)
            return user

        user = await self._catalog.write(work)
        if user.disabled:
            raise Unauthenticated("This account is disabled; ask an admin.")
        return user

    async def get(self, principal: Principal, name: str) -> User:
        """Return an account: one's own, or for admins any. `NotFound` otherwise."""
        access.require(principal, "read")
        access.require_account(principal)

        def work(connection: Connection) -> User:
            return _reachable(connection, principal, name)

        return await self._catalog.read(work)

    async def list(self, principal: Principal, *, after: int = 0, limit: int) -> Sequence[User]:
        """Return all accounts by number; for admins."""
        access.require(principal, "admin")
        return await self._catalog.read(lambda connection: users.page(connection, after, limit))

    async def change(
        self, principal: Principal, name: str, changes: UserChanges, *, current: str | None = None
    ) -> User:
        """Change an account: admins anything; users their own password, given the *current* one.

        A new password, role or disabling ends sessions and signed tokens. `Denied` for changes only
        admins may make, for a wrong current password, and for changes of credentials by a token
        with fewer scopes than its owner.
        """
        user = await self.get(principal, name)
        facts = {key: getattr(changes, key) for key in ("role", "disabled")}
        quotas = {key: getattr(changes, key) for key in ("quota_bytes", "quota_files")}
        told = {key: value for key, value in (facts | quotas).items() if value is not None}
        if told or changes.password is None or user.id != principal.id:
            access.require(principal, "admin")
        else:
            await self._confirm(user, current, principal.address)
        if {changes.role, changes.disabled, changes.password} != {None}:
            access.require_whole(principal)
        values = {key: None if value == -1 else value for key, value in told.items()}
        if changes.password is not None:
            values["password"] = await self._passwords.hash(changes.password)
        ends = bool(values.keys() & {"password", "role", "disabled"})

        def work(connection: Connection) -> User:
            present = _reachable(connection, principal, name)
            changed = users.change(connection, present, values, ends=ends) if values else present
            if ends:
                tokens.remove_all(connection, user.id, "session")
            note(connection, principal, "user.change", user.name, facts=sorted(values))
            return changed

        return await self._catalog.write(work)

    async def usage(self, principal: Principal) -> Usage:
        """Return the usage and quotas of the principal's own space."""
        access.require(principal, "read")
        access.require_account(principal)

        def work(connection: Connection) -> Usage:
            used = usage.of(connection, principal.id)
            most = self._limits.quotas(connection, principal.id)
            return Usage(used.bytes, used.files, used.staged, *most)

        return await self._catalog.read(work)

    async def _confirm(self, user: User, current: str | None, address: str) -> None:
        attempt = await self._throttle.enter(f"confirm {user.id}", address)
        if current is None or not await self._passwords.matches(user.password, current):
            raise Denied("current_password is wrong.")
        await self._throttle.succeeded(attempt)

    async def _invited(self, invite: str | None) -> bool:
        """Return whether the invitation is valid: such sign-ups are not rate limited as guesses."""
        if not invite:
            return False
        hash_ = hash_of(invite)
        return await self._catalog.read(
            lambda connection: tokens.is_good(connection, hash_, INVITE, now())
        )


def check_name(name: str) -> str:
    """Return *name* if it is a valid user name; else raise `Unprocessable`."""
    if not _NAME.fullmatch(name) or name.casefold() in _RESERVED:
        raise Unprocessable(
            "A user name must have 1 to 64 letters, digits and ._@+-, start with a "
            f"letter or digit, and not be {' or '.join(sorted(_RESERVED))}.",
            {"field": "username"},
        )
    return name


def _reachable(connection: Connection, principal: Principal, name: str) -> User:
    user = users.find(connection, name)
    if user is None or (user.id != principal.id and not principal.admin):
        raise access.hidden(NotFound(f"There is no user {name!r}."))
    return user


def _invited(connection: Connection, invite: str) -> Role:
    token = tokens.take(connection, hash_of(invite), INVITE, now())
    if token is None:
        raise Denied("The invitation is unknown, used or expired: ask an admin for another.")
    return _role(token)


def _role(token: Token) -> Role:
    roles: list[Any] = [role for role, scopes in OF_ROLE.items() if scopes == token.scopes]
    return roles[0] if roles else "member"


def _free_name(wanted: str, free: Callable[[str], bool]) -> str:
    base = re.sub(r"[^A-Za-z0-9._@+-]", "-", wanted).lstrip("._@+-")[:56] or "user"
    if base.casefold() in _RESERVED:
        base = f"{base}-1"
    names = [base, *(f"{base}-{number}" for number in range(2, 1000))]
    return next(name for name in names if free(name))
