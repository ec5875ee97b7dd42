"""Files: store, list, change, download."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import Connection

from dsx.blobs.contract import BlobStore, Stages
from dsx.catalog import blobs as blob_records
from dsx.catalog import files as records
from dsx.catalog import numbered
from dsx.catalog.database import Catalog
from dsx.core.content import Content
from dsx.core.digest import Digest
from dsx.core.errors import (
    NotFound,
)
from dsx.core.metadata import check_metadata, merge_patch
from dsx.core.model import (
    FileChanges,
    FileQuery,
    FileVersion,
    Given,
    NumberedPage,
    Page,
)
from dsx.core.names import check_file_name, check_label
from dsx.core.principals import Principal
from dsx.hub.accounts import access
from dsx.hub.accounts.audit import note
from dsx.hub.clock import now
from dsx.hub.files.allowances import Allowances
from dsx.hub.files.content import content_of
from dsx.hub.files.preconditions import allow, claimed, require_match, unchanged
from dsx.hub.files.presence import Present, always_present
from dsx.hub.files.receiver import Receiver
from dsx.hub.files.validation import check_tags, new_file
from dsx.hub.integrity.blob_gc import recorded, spare
from dsx.hub.limits import Limits

FORM_OVERHEAD = 64 * 1024
"""A multipart body may be this much longer than its file before it is refused unread."""
_PAGE = 1000
_EARLIER = 100
_BATCH = 250
K = TypeVar("K", str, int)


class Files:
    """The files of all principals; each call sees only the caller's."""

    def __init__(
        self,
        catalog: Catalog,
        blobs: BlobStore,
        limits: Limits = Limits(),  # noqa: B008 (frozen)
        allowances: Allowances | None = None,
    ) -> None:
        """*blobs* must also be `Stages`."""
        if not isinstance(blobs, Stages):
            raise TypeError("files need a blob store that can stage uploads")
        self._catalog = catalog
        self.blobs = blobs
        self._stages: Stages = blobs
        self._limits = limits
        self.long = asyncio.Semaphore(1)  # serializes large requests
        self._allowances = allowances or Allowances(catalog, limits)

    async def receive(
        self,
        principal: Principal,
        announced: int | None,
        *,
        framing: int = FORM_OVERHEAD,
        at_most: int | None = None,
    ) -> Receiver:
        """Return a receiver for one file of *announced* bytes (None: unknown), up to *at_most*.

        Up to *framing* of the announced bytes may be a form around the file. Raises `TooLarge` or
        `StorageFull` before the first byte if the length is declared. The caller must call
        ``abandon`` in the end.
        """
        access.require(principal, "write")
        limits = self._limits.narrowed(at_most)
        least = max(0, (announced or 0) - framing)
        limits.check_size(least)
        allowance = await self._allowances.open(principal.id, least)
        try:
            stage = await self._stages.stage(reserve=announced or 0)
        except BaseException:
            allowance.close()
            raise
        return Receiver(stage, limits.file_size, allowance)

    async def create(
        self,
        principal: Principal,
        receiver: Receiver,
        *,
        name: str,
        category: str | None = None,
        content_type: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        tags: Sequence[str] = (),
        expected: Digest | None = None,
        only_if_absent: bool = False,
        only_if_match: frozenset[str] | None = None,
        only_if_changed: bool = False,
        then: Callable[[Connection, FileVersion], None] | None = None,
    ) -> FileVersion:
        """Store the bytes of *receiver* as *name*: a new file, or the next version of that file.

        With *only_if_changed*, if the file of that name already has these bytes and all the given
        values, its version is returned, and nothing is stored.

        When this returns, bytes and record are durable. Raises `Invalid` for unacceptable values,
        `DigestMismatch` unless the bytes match *expected*, `PreconditionFailed` if the name is
        taken with *only_if_absent*, or if the file of that name has none of the digests
        *only_if_match*; then nothing is stored. *then* is called for the new version in the same
        transaction.
        """
        new = new_file(
            principal.id,
            name,
            category=category,
            content_type=content_type,
            metadata=metadata,
            tags=tags,
        )
        type_given = new.content_type if content_type else None
        given = Given(category, type_given, new.metadata, new.tags)
        access.require(principal, "write")
        may = partial(
            allow, principal, new, only_if_absent=only_if_absent, only_if_match=only_if_match
        )
        if only_if_absent or only_if_match is not None or principal.places is not None:
            await self._catalog.read(may)
        blob = await receiver.finish(expected)

        def commit(connection: Connection) -> FileVersion:
            """Order matters: a purge of equal content excludes us by the claim, see `Trash`."""
            records.lock_owner(connection, principal.id)
            may(connection)
            before = unchanged(connection, new, blob, given) if only_if_changed else None
            if before is not None:
                return before
            blob_records.lock_blob(connection, blob.digest)
            spare(connection, blob.digest)
            self._limits.check_quota(connection, principal.id, blob.size)
            receiver.seal(blob)
            blob_records.add(connection, blob, now())
            version = records.add(connection, new, blob, now())
            note(connection, principal, "file.create", version.id, name=version.name)
            if then is not None:
                then(connection, version)
            return version

        prepare = partial(receiver.prepare, blob)
        version = await recorded(self._catalog, self.blobs, blob.digest, prepare, commit)
        if receiver.sealed:
            receiver.recorded()
        return version

    async def list(
        self, principal: Principal, query: FileQuery, *, owner: str | None = None
    ) -> Page:
        """Return one page of the newest versions of the principal's files.

        *owner*: of that user's files that are shared with the principal; `NotFound` if there are
        none.
        """

        def work(connection: Connection) -> Page:
            whose, places = access.space(connection, principal, owner)
            return records.list_live(connection, whose, query, places)

        return await self._catalog.read(work)

    async def pages(
        self, principal: Principal, query: FileQuery, first: Page | None = None
    ) -> AsyncIterator[Page]:
        """Yield all pages that *query* selects; *first*, if the caller has already fetched it."""
        page = first or await self.list(principal, query)
        while True:
            yield page
            if page.next is None:
                return
            page = await self.list(principal, replace(query, cursor=page.next))

    async def every(
        self, principal: Principal, query: FileQuery, present: Present = always_present
    ) -> AsyncIterator[FileVersion]:
        """Yield all files that *query* selects, page after page."""
        async for page in self.pages(principal, replace(query, limit=_PAGE, cursor=None)):
            await present()
            for version in page.items:
                yield version

    async def find(self, principal: Principal, name: str) -> FileVersion:
        """Return the newest version of the principal's own file of this name, or `NotFound`."""
        return await self._catalog.read(lambda connection: access.find(connection, principal, name))

    async def numbered(self, principal: Principal, page: int, size: int) -> NumberedPage:
        """Return page *page*, from 1 on, of the principal's files, each with older versions.

        At most 100 older versions each, without metadata. Unlike those of `list`, pages shift when
        files are added or removed meanwhile. `NotFound` beyond the last page; there always is a
        first.
        """
        query = FileQuery(limit=size, offset=(page - 1) * size)

        def work(connection: Connection) -> NumberedPage:
            whose, places = access.space(connection, principal, None)
            count = numbered.count_live(connection, whose, places)
            if page > 1 and query.offset >= count:
                raise NotFound(f"There is no page {page}.", {"count": count})
            items = records.list_live(connection, whose, query, places, brief=True).items
            files = [item.file for item in items]
            return NumberedPage(count, items, numbered.earlier(connection, files, _EARLIER, places))

        return await self._catalog.read(work)

    async def get(self, principal: Principal, ref: str) -> FileVersion:
        """Return the version with this id or number, or `NotFound`."""
        return await self._catalog.read(lambda connection: access.file(connection, principal, ref))

    async def has_bytes(self, version: FileVersion) -> bool:
        """Return whether the bytes of *version* are stored and intact."""
        return version.sha256 in await self.blobs.stat([version.sha256])

    async def get_many(
        self, principal: Principal, refs: Sequence[str], present: Present = always_present
    ) -> Sequence[FileVersion]:
        """Return the versions with these ids or numbers in that order, or `NotFound` for the first.

        Without metadata. *present* is called between batches.
        """

        def work(some: Sequence[str], connection: Connection) -> Sequence[FileVersion]:
            return access.many(connection, principal, some)

        found = await self._in_batches(work, list(dict.fromkeys(refs)), present)
        return [found[ref] for ref in refs]

    async def chosen(
        self, principal: Principal, numbers: Sequence[int], present: Present = always_present
    ) -> Sequence[FileVersion]:
        """Return versions that were selected before; one's own may have gone to the trash since.

        `NotFound` for the first that was permanently deleted, or is no longer shared. Otherwise
        like `get_many`.
        """
        access.require(principal, "read")

        def work(some: Sequence[int], connection: Connection) -> Sequence[FileVersion]:
            own = records.numbered(connection, principal.id, some)
            others = [str(number) for number in some if number not in own]
            shared = {one.number: one for one in access.many(connection, principal, others)}
            return [own.get(number) or shared[number] for number in some]

        found = await self._in_batches(work, list(dict.fromkeys(numbers)), present)
        return [found[number] for number in numbers]

    async def _in_batches(
        self,
        work: Callable[[Sequence[K], Connection], Sequence[FileVersion]],
        keys: Sequence[K],
        present: Present,
    ) -> Mapping[K, FileVersion]:
        """Return the results of *work* for *keys*, some hundred at a time.

        Requests for more than one batch take turns, batch by batch, so that small requests are not
        delayed.
        """
        found: dict[K, FileVersion] = {}
        for start in range(0, len(keys), _BATCH):
            some = keys[start : start + _BATCH]
            async with self.long if len(keys) > _BATCH else nullcontext():
                await present()
                versions = await self._catalog.read(partial(work, some))
            found.update(zip(some, versions, strict=True))
        return found

    async def find_many(self, principal: Principal, names: Sequence[str]) -> Sequence[FileVersion]:
        """Return the newest versions of the principal's files of exactly these names, in any order.

        Without those whose bytes are damaged: they are to be stored again.
        """
        return await self._catalog.read(
            lambda connection: access.find_many(connection, principal, names)
        )

    async def versions(
        self, principal: Principal, ref: str, *, limit: int = _PAGE, cursor: str | None = None
    ) -> Page:
        """Return one page of the versions of the file *ref* belongs to, newest first."""
        return await self._catalog.read(
            lambda connection: access.versions(connection, principal, ref, limit, cursor)
        )

    async def version(self, principal: Principal, ref: str, number: int) -> FileVersion:
        """Return version *number*, from 1 on, of the file *ref* belongs to; or `NotFound`."""
        return await self._catalog.read(
            lambda connection: access.version(connection, principal, ref, number)
        )

    async def update(
        self,
        principal: Principal,
        ref: str,
        changes: FileChanges,
        *,
        only_if_match: frozenset[str] | None = None,
    ) -> FileVersion:
        """Change a record; the bytes stay. `AlreadyExists` if a new name is taken.

        `PreconditionFailed` unless the bytes have one of the digests *only_if_match*, if given.
        """
        values: dict[str, Any] = {}
        if changes.metadata is not None:
            check_metadata(changes.metadata)  # also bounds the merge
        if changes.name is not None:
            values["name"] = check_file_name(changes.name)
        if changes.category is not None:
            values["category"] = check_label("A category", changes.category)
        if changes.tags is not None:
            values["tags"] = check_tags(changes.tags)

        def work(connection: Connection) -> FileVersion:
            version = claimed(connection, principal, ref, "write")
            require_match(version, only_if_match)
            name, category = values.get("name", version.name), values.get("category")
            if version.owner == principal.id:
                place = (name, category or version.category, version.file)
                access.require_place(principal, *place)
            if changes.metadata is not None:
                merged = merge_patch(version.metadata, changes.metadata)
                values["metadata"] = check_metadata(merged)
            records.change(connection, version, values)
            note(connection, principal, "file.change", version.id, facts=sorted(values))
            return records.by_number(connection, version.number)

        return await self._catalog.write(work)

    async def content(self, principal: Principal, ref: str) -> Content:
        """Return the version's content for downloads; `Damaged` if its bytes are known to be.

        If they are missing, sending raises `Gone`.
        """
        version = await self.get(principal, ref)
        return content_of(self.blobs, version)
