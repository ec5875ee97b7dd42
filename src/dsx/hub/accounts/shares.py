"""Shares: read access that an owner gives to one user, or to holders of a link."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import uuid_utils
from sqlalchemy import Connection

from dsx.catalog import shares as records
from dsx.catalog import users
from dsx.catalog.database import Catalog
from dsx.core.errors import Invalid, NotFound, Unauthenticated
from dsx.core.model import Micros
from dsx.core.principals import Principal, ResourceScope, Share
from dsx.hub.accounts import access
from dsx.hub.accounts.audit import note
from dsx.hub.accounts.link_downloads import LinkDownloads, Recipient, Running, Wanted, used_up
from dsx.hub.accounts.passwords import Passwords
from dsx.hub.accounts.sign_in_limits import SignInLimiter
from dsx.hub.accounts.tokens import check_place, hash_of, new_secret
from dsx.hub.clock import SECOND, now
from dsx.hub.limits import check_number

_REMEMBERED = 30 * 24 * 3600 * SECOND
"""How long an expired link is still distinguished from an unknown one."""


@dataclass(frozen=True, slots=True)
class Called:
    """Names for the ids in a share.

    Attributes:
        owner: its owner, unless it is the caller.
        grantee: the user it is shared with.
        file: the shared file, if it is one.
        there: False if that file is in the trash or deleted.
    """

    owner: str | None = None
    grantee: str | None = None
    file: str | None = None
    there: bool = True


class Shares:
    """The shares of all accounts; each call sees only the caller's."""

    def __init__(
        self,
        catalog: Catalog,
        passwords: Passwords,
        throttle: SignInLimiter,
        most: int | None = None,
        datasets: Callable[[], Sequence[str]] = list,
    ) -> None:
        """*most*: the maximum number of shares of one owner; None: no limit.

        *datasets* returns the names of all datasets in place; it may block.
        """
        self._most = most
        self._datasets = datasets
        self.downloads = LinkDownloads(catalog)
        self._catalog = catalog
        self._passwords = passwords
        self._throttle = throttle

    async def with_user(
        self, principal: Principal, place: ResourceScope, user: str, *, seconds: float | None = None
    ) -> Share:
        """Let *user* read *place*, for *seconds* or (None) until the share is ended.

        Never for longer than the credential that makes it is valid, as for a link. `NotFound` if
        there is no such user or file, `Denied` if the place belongs to someone else.
        """
        check_place(place)
        there = await self._is_there(place)

        def work(connection: Connection) -> Share:
            owned = self._owned(connection, principal, place, there=there)
            grantee = users.find(connection, user)
            if grantee is None:
                raise NotFound(f"There is no user {user!r}.")
            self._check_number(connection, principal)
            share = _new(principal, owned, seconds, grantee=grantee.id)
            records.add(connection, share, None)
            note(connection, principal, "share.create", share.id, user=grantee.name)
            return share

        return await self._catalog.write(work)

    async def by_link(
        self,
        principal: Principal,
        place: ResourceScope,
        *,
        seconds: float | None = None,
        password: str | None = None,
        downloads: int | None = None,
    ) -> tuple[Share, str]:
        """Let holders of a link read *place*; returns the share and the link's secret, shown once.

        *password*: needed in addition to the link; *downloads*: how often the link may be used.
        """
        check_place(place)
        if downloads is not None and downloads < 1:
            raise Invalid("downloads must be at least 1.")
        hashed = await self._passwords.hash(password) if password is not None else None
        secret, hash_ = new_secret("link")
        there = await self._is_there(place)

        def work(connection: Connection) -> Share:
            owned = self._owned(connection, principal, place, there=there)
            self._check_number(connection, principal)
            share = _new(principal, owned, seconds, password=hashed, downloads=downloads)
            records.add(connection, share, hash_)
            note(connection, principal, "share.create", share.id, link=True)
            return share

        return await self._catalog.write(work), secret

    async def list(
        self, principal: Principal, *, after: str, limit: int
    ) -> Sequence[tuple[Share, Called]]:
        """Return the principal's shares, oldest first."""
        access.require(principal, "read")
        access.require_account(principal)

        def work(connection: Connection) -> Sequence[tuple[Share, Called]]:
            found = records.page(connection, principal.id, after, limit)
            return _called(connection, found, owner=None)

        return await self._catalog.read(work)

    async def received(self, principal: Principal) -> Sequence[tuple[Share, Called]]:
        """Return the shares of others with the principal."""
        access.require(principal, "read")
        access.require_account(principal)

        def work(connection: Connection) -> Sequence[tuple[Share, Called]]:
            found = records.to(connection, principal.id, now())
            return _called(connection, found, owner=principal.name)

        return await self._catalog.read(work)

    async def end(self, principal: Principal, id_: str) -> None:
        """End a share immediately; `NotFound` if there is none."""
        access.require_account(principal)
        access.require(principal, "write")

        def work(connection: Connection) -> None:
            records.remove(connection, principal.id, id_)
            note(connection, principal, "share.end", id_)

        await self._catalog.write(work)

    async def _is_there(self, place: ResourceScope) -> bool:
        """Return whether *place*, if it is a dataset, exists."""
        if place.kind != "dataset":
            return True
        return place.value in await asyncio.to_thread(self._datasets)

    def _owned(
        self, connection: Connection, principal: Principal, place: ResourceScope, *, there: bool
    ) -> ResourceScope:
        owned = access.owns(connection, principal, place)
        if not there:
            raise NotFound(f"There is no dataset {place.value!r}.", {"dataset": place.value})
        return owned

    def _check_number(self, connection: Connection, principal: Principal) -> None:
        count = records.count(connection, principal.id, now())
        check_number(count, self._most, "shares")

    async def holder(self, secret: str) -> Principal:
        """Return the principal of a link used as a credential; `Unauthenticated` if not sufficient.

        Links with a password or a limited number of downloads must be opened instead.
        """
        share = await self._find(secret)
        if share is None or _over(share) or share.password or share.downloads is not None:
            raise Unauthenticated(
                "The share link is unknown, has ended, or must be opened as a page."
            )
        return _guest(share)

    async def open(
        self,
        secret: str,
        password: str | None,
        recipient: Recipient,
        *,
        reads: bool = True,
        device: str = "",
    ) -> tuple[Share, Principal]:
        """Return the share of a link and its principal; *reads*: for a download, see `count`.

        `NotFound` for an unknown link; `Gone` if it has ended, or is used up and the recipient has
        nothing to resume; `Unauthenticated` for a missing or wrong password; `RateLimited`.
        *device*: the cookie of a browser that has opened it before.
        """
        share = await self._find(secret)
        if share is None:
            raise access.hidden(NotFound("There is no such share link."))
        if _over(share) and (
            _ended(share) or not await self.downloads.known(share, recipient, broken=not reads)
        ):
            raise used_up()
        if share.password is not None:
            await self._check(share, share.password, password, recipient.address, device)
        return share, _guest(share)

    async def count(self, share: Share, recipient: Recipient, wanted: Wanted) -> Running | None:
        """Count a response as a download, or as part of one; `Gone` if the link is used up.

        The caller reports the outcome to the returned object, if any.
        """
        if share.downloads is not None:
            return await self.downloads.begin(share, recipient, wanted)
        if not wanted.goes_on:
            await self._catalog.write(
                lambda connection: records.use(connection, share.id), durable=False
            )
        return None

    async def drop_expired(self, instant: Micros) -> None:
        """Delete shares that expired long before *instant*."""
        await self._catalog.write(
            lambda connection: records.delete_expired(connection, instant - _REMEMBERED)
        )
        await self.downloads.drop_expired(instant)

    async def _find(self, secret: str) -> Share | None:
        """Return the link of that secret; links of disabled owners count as expired."""
        hash_ = hash_of(secret)

        def work(connection: Connection) -> Share | None:
            share = records.by_hash(connection, hash_)
            owner = users.by_id(connection, share.owner) if share else None
            if share is not None and owner is not None and owner.disabled:
                return replace(share, expires=share.created)
            return share

        return await self._catalog.read(work)

    async def _check(
        self, share: Share, hash_: str, given: str | None, address: str, device: str
    ) -> None:
        if given is None:
            raise Unauthenticated("The share link needs a password: send it as Basic.")
        if self._passwords.remembers(hash_, given):
            return
        attempt = await self._throttle.enter(share.id, address, subject=share.id, device=device)
        if not await self._passwords.matches(hash_, given):
            raise Unauthenticated("The password of the share link is wrong.")
        await self._throttle.succeeded(attempt)


def _called(
    connection: Connection, found: Sequence[Share], *, owner: str | None
) -> Sequence[tuple[Share, Called]]:
    """Add names to *found*; *owner*: the user they are shared with."""
    ids = {id_ for share in found for id_ in (share.owner, share.grantee) if id_}
    names = users.names(connection, sorted(ids))
    of_files = [share.place.value for share in found if share.place.kind == "file"]
    called = records.file_names(connection, sorted(set(of_files)))
    live = records.live_files(connection, sorted(set(of_files)))
    return [
        (
            share,
            Called(
                owner=None if owner is None else names.get(share.owner, share.owner),
                grantee=names.get(share.grantee) if share.grantee else None,
                file=called.get(share.place.value),
                there=share.place.kind != "file" or share.place.value in live,
            ),
        )
        for share in found
    ]


def _new(
    principal: Principal,
    place: ResourceScope,
    seconds: float | None,
    *,
    grantee: str | None = None,
    password: str | None = None,
    downloads: int | None = None,
) -> Share:
    instant: Micros = now()
    return Share(
        id=str(uuid_utils.uuid7()),
        owner=principal.id,
        place=place,
        grantee=grantee,
        password=password,
        downloads=downloads,
        downloaded=0,
        created=instant,
        expires=access.ends(principal, instant, seconds),
    )


def _ended(share: Share) -> bool:
    return share.expires is not None and share.expires <= now()


def _over(share: Share) -> bool:
    spent = share.downloads is not None and share.downloaded >= share.downloads
    return spent or _ended(share)


def _guest(share: Share) -> Principal:
    return Principal(
        share.owner,
        scopes=frozenset({"read"}),
        places=(share.place,),
        link=True,
        via=share.id,
    )
