"""Deletes accounts: their files go to an heir or to the trash, everything else ends.

The account is disabled first and deleted last, so that an interrupted deletion can be repeated.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from sqlalchemy import Connection

from dsx.catalog import departures as records
from dsx.catalog import files, users
from dsx.catalog.database import Catalog
from dsx.core.errors import Conflict, Invalid, NotFound
from dsx.core.names import MAX_NAME_BYTES
from dsx.core.principals import Principal, User
from dsx.hub.accounts import access
from dsx.hub.accounts.audit import note
from dsx.hub.accounts.sign_in_limits import SignInLimiter
from dsx.hub.clock import DAY, now
from dsx.hub.transfers.tasks import Tasks
from dsx.hub.transfers.uploads import Uploads

_BATCH = 200
_NAMES = 100
_WHY = "The account was deleted."


@dataclass(frozen=True, slots=True)
class Departure:
    """A deleted account.

    Attributes:
        files: how many files it left, including those in its trash.
        heir: the name of their new owner; None: they are in the trash of the hub's own key.
    """

    name: str
    files: int
    heir: str | None


class Departures:
    """Deletes accounts."""

    def __init__(
        self,
        catalog: Catalog,
        uploads: Uploads,
        tasks: Tasks,
        throttle: SignInLimiter,
        *,
        trash_days: float,
    ) -> None:
        self._catalog = catalog
        self._uploads = uploads
        self._tasks = tasks
        self._throttle = throttle
        self._trash_days = trash_days

    async def delete(
        self,
        principal: Principal,
        name: str,
        *,
        heir: str | None = None,
        days: float | None = None,
    ) -> Departure:
        """Delete the account *name*; for admins.

        Its files become the heir's, under their names, or *name*/… where those are taken. Without
        an *heir* they go to the trash of the hub's own key, for *days* (None: the default; 0: until
        the next collection), and are then permanently deleted. Tokens, sessions, shares, uploads
        and tasks end immediately. `NotFound`, `Conflict` for one's own account or an unfit heir.
        """
        access.require(principal, "admin")
        access.require_whole(principal)
        if heir is not None and days is not None:
            raise Invalid(
                "Choose what happens to the files: either an heir, or the trash for some days."
            )

        def shut_out(connection: Connection) -> tuple[User, str, str | None]:
            user = _named(connection, name)
            if user.id == principal.id:
                raise Conflict("You cannot delete your own account; another admin can.")
            to, heir_name = _heir(connection, user, heir)
            users.change(connection, user, {"disabled": True}, ends=True)
            records.end_credentials(connection, user.id)
            note(connection, principal, "user.change", user.name, facts=["disabled"])
            return user, to, heir_name

        user, to, heir_name = await self._catalog.write(shut_out)
        await self._end_transfers(user)
        keep = self._trash_days if days is None else days
        count = await self._hand_over(user, to, None if heir else keep)

        def forget(connection: Connection) -> None:
            records.end_credentials(connection, user.id)
            records.remove(connection, user.id)
            note(connection, principal, "user.delete", user.name, files=count, heir=heir_name)

        await self._catalog.write(forget)
        await self._throttle.forget(user.name)
        return Departure(user.name, count, heir_name)

    async def _end_transfers(self, user: User) -> None:
        def find(connection: Connection) -> tuple[list[str], list[str], list[str]]:
            return records.under_way(connection, user.id)

        opened, waiting, tasks = await self._catalog.read(find)
        for id_ in opened:
            await self._uploads.stop(id_, _WHY)
        for id_ in waiting:
            await self._uploads.expiry.end(id_, "aborted")
        for id_ in tasks:
            await self._tasks.stop(id_, _WHY)

    async def _hand_over(self, user: User, to: str, days: float | None) -> int:
        """Move all files to *to*, in the trash for *days* (None: as they are); returns how many."""

        def work(connection: Connection) -> int:
            for owner in sorted({user.id, to}):
                files.lock_owner(connection, owner)
            found = records.left(connection, user.id, _BATCH)
            instant = now()
            for one in found:
                if days is None:
                    records.hand_over(connection, one, to, partial(_names, user.name))
                else:
                    expires = instant + int(days * DAY)
                    records.trash(connection, one, to, instant, expires)
            return len(found)

        count = 0
        while done := await self._catalog.write(work):
            count += done
        return count


def _named(connection: Connection, name: str) -> User:
    user = users.find(connection, name)
    if user is None:
        raise NotFound(f"There is no user {name!r}.")
    return user


def _heir(connection: Connection, user: User, heir: str | None) -> tuple[str, str | None]:
    """Return the owner id and name of the files' new owner."""
    if heir is None or heir == access.ADMIN:
        return access.ADMIN, heir
    found = _named(connection, heir)
    if found.id == user.id or found.disabled:
        raise Conflict(f"{found.name!r} cannot receive the files: choose another account.")
    return found.id, found.name


def _names(account: str, name: str) -> list[str]:
    """Return candidate names for a file in another space, which may have it already."""
    folders = [account, *(f"{account}-{number}" for number in range(2, _NAMES))]
    wanted = [name, *(f"{folder}/{name}" for folder in folders)]
    return [one for one in wanted if len(one.encode()) <= MAX_NAME_BYTES]
