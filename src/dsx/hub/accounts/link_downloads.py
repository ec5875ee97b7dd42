"""Groups the requests by a link into downloads, for links with a limited number of them.

One download is one recipient's complete transfer. Its ranges and its resumptions count once for a
day; a request for the whole after that is another download. A recipient is known by a cookie, or
else by address and program: those behind one address with the same program are taken for one when
they resume an interrupted download, but not when they repeat a complete one, which takes the
cookie. Abuse is bounded: the requests of one download may ask for at most three times its size.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from sqlalchemy import Connection

from dsx.catalog import link_downloads as records
from dsx.catalog import shares
from dsx.catalog.database import Catalog
from dsx.catalog.link_downloads import LinkDownload
from dsx.core.addresses import source_of
from dsx.core.digest import text_digest
from dsx.core.errors import Gone
from dsx.core.intervals import IntervalSet
from dsx.core.model import Micros
from dsx.core.principals import Share
from dsx.core.ranges import ByteRange
from dsx.hub.clock import SECOND, now

WINDOW = 24 * 3600 * SECOND
"""How long a download may be resumed."""
STALE = 3600 * SECOND
"""Responses that began longer ago are taken to be interrupted by a server failure."""
_MOST_SPANS = 1000
TIMES = 3
"""The requests of one download may ask for this many times its size."""


@dataclass(frozen=True, slots=True)
class Recipient:
    """The user of a link, as far as requests identify them.

    Attributes:
        address: where the request came from.
        program: its User-Agent.
        shown: the id of its earlier download, from a cookie; empty: none.
    """

    address: str
    program: str
    shown: str = ""

    @property
    def hash(self) -> str:
        """Hash of the source and program, which is stored instead of them."""
        return _hash(source_of(self.address), self.program)


@dataclass(frozen=True, slots=True)
class Wanted:
    """The content that a request by a link asks for.

    Attributes:
        item: its path and version, so that changed content is another download.
        size: bytes of the whole.
        ranges: the requested ranges; one of everything for a request of the whole.
    """

    item: str
    size: int
    ranges: Sequence[ByteRange]

    @property
    def bytes(self) -> int:
        """Number of bytes requested."""
        return sum(part.size for part in self.ranges)

    @property
    def goes_on(self) -> bool:
        """Whether the request only makes sense after receiving the beginning."""
        return all(part.start > 0 for part in self.ranges)


class LinkDownloads:
    """The downloads of links with a limited number of downloads."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    async def known(self, share: Share, recipient: Recipient, *, broken: bool) -> bool:
        """Return whether *recipient* has a download by that link; *broken*: an interrupted one."""

        def work(connection: Connection) -> bool:
            found = _of(connection, share, recipient)
            return any(not broken or not (one.complete or one.active) for one in found)

        return await self._catalog.read(work)

    async def begin(self, share: Share, recipient: Recipient, wanted: Wanted) -> Running:
        """Count a download, unless this resumes one; `Gone` if none are left."""

        def work(connection: Connection) -> Running:
            instant, item = now(), _hash(wanted.item)
            for known in _of(connection, share, recipient):
                if known.item == item and _belongs(known, wanted):
                    begun, active = known.begun + wanted.bytes, known.active + 1
                    records.change(connection, known.id, begun=begun, active=active, seen=instant)
                    return Running(self._catalog, known.id, share, wanted, new=False)
            if not shares.use(connection, share.id):
                raise used_up()
            new = LinkDownload(
                id=secrets.token_urlsafe(24),
                share=share.id,
                item=item,
                recipient=recipient.hash,
                begun=wanted.bytes,
                active=1,
                complete=False,
                sent=[],
                broken=[],
                seen=instant,
            )
            records.add(connection, new)
            return Running(self._catalog, new.id, share, wanted, new=True)

        return await self._catalog.write(work)

    async def drop_expired(self, instant: Micros) -> None:
        """Delete downloads that can no longer be resumed at *instant*."""
        await self._catalog.write(
            lambda connection: records.delete_expired(connection, instant - WINDOW)
        )


class Running:
    """A request of a download that is being answered."""

    def __init__(
        self, catalog: Catalog, id_: str, share: Share, wanted: Wanted, *, new: bool
    ) -> None:
        """*new*: this request is the download's first."""
        self.id = id_
        self._catalog = catalog
        self._share = share
        self._wanted = wanted
        self._new = new

    async def end(self, *, begun: bool, whole: bool) -> None:
        """Record the result: whether a response was *begun*, and was sent *whole*.

        An interrupted one has sent something, and how much arrived is unknown. One that was not
        begun has sent nothing and does not count.
        """
        work = self._take_back if self._new and not begun else partial(self._note, whole=whole)
        await self._catalog.write(work, durable=False)

    def _take_back(self, connection: Connection) -> None:
        records.remove(connection, self.id)
        shares.give_back(connection, self._share.id)

    def _note(self, connection: Connection, *, whole: bool) -> None:
        found = records.by_id(connection, self.id)
        if found is None:
            return
        sent, broken, size = (
            IntervalSet.of(found.sent),
            IntervalSet.of(found.broken),
            self._wanted.size,
        )
        for part in self._wanted.ranges:
            sent, broken = (sent.add(part), broken) if whole else (sent, broken.add(part))
        # A recipient who gets the end has the beginning, perhaps from an interrupted response.
        complete = found.complete or (sent.end == size and _with(sent, broken).covers(size))
        records.change(
            connection,
            self.id,
            active=max(0, found.active - 1),
            sent=sent.pairs()[:_MOST_SPANS],
            broken=broken.pairs()[:_MOST_SPANS],
            complete=complete,
            seen=now(),
        )


def _with(one: IntervalSet, other: IntervalSet) -> IntervalSet:
    for part in other.parts:
        one = one.add(part)
    return one


def used_up() -> Gone:
    """Return the failure of a link that has ended."""
    return Gone("The share link has expired or has been used up.")


def _of(connection: Connection, share: Share, recipient: Recipient) -> Sequence[LinkDownload]:
    """Return the downloads that *recipient* may resume: that of its cookie, else similar ones.

    Similar ones that are complete do not count: other recipients may look the same.
    """
    since = now() - WINDOW
    if recipient.shown:
        found = records.by_id(connection, recipient.shown)
        if found is not None and found.share == share.id and found.seen >= since:
            return [found]
    alike = records.of_recipient(connection, share.id, recipient.hash, since)
    return [one for one in alike if not one.complete]


def _belongs(known: LinkDownload, wanted: Wanted) -> bool:
    """Return whether a request of the same recipient for the same content is part of *known*."""
    if known.begun + wanted.bytes > TIMES * wanted.size:
        return False
    if wanted.goes_on:
        return True
    running = known.active > 0 and known.seen > now() - STALE
    return not known.complete and not running


def _hash(*texts: str) -> str:
    return text_digest("\0".join(texts))
