"""The trash: where deleted files are until they are restored, purged, or too old."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

from sqlalchemy import Connection

from dsx.blobs.contract import BlobStore
from dsx.catalog import blobs as blob_records
from dsx.catalog import files as records
from dsx.catalog import tombstones, trash
from dsx.catalog.engine import Catalog
from dsx.core.digest import Digest
from dsx.core.errors import NotFound
from dsx.core.model import FileVersion, Micros, Page
from dsx.core.names import check_file_name
from dsx.core.principals import Principal
from dsx.hub import access
from dsx.hub.audit import note
from dsx.hub.clock import now
from dsx.hub.files import claimed
from dsx.hub.removal import remove_unknown

_DAY = 24 * 3600 * 1_000_000
_BATCH = 200


class Trash:
    """Deletes files, at first reversibly.

    The records go in one transaction, which leaves tombstones; the bytes go after it: see
    `dsx.hub.removal` for why an upload of equal content never loses its own.
    """

    def __init__(self, catalog: Catalog, blobs: BlobStore, *, days: float) -> None:
        """Keep deleted files for *days* days."""
        self._catalog = catalog
        self._blobs = blobs
        self._keep = int(days * _DAY)

    async def delete(self, principal: Principal, ref: str) -> FileVersion:
        """Move the file that *ref* is a version of, with all its versions, to the trash."""

        def work(connection: Connection) -> FileVersion:
            version = claimed(connection, principal, ref, "delete")
            self.put(principal, connection, version)
            return version

        return await self._catalog.write(work)

    async def delete_named(self, principal: Principal, name: str) -> FileVersion:
        """`delete` for the principal's own file that has this name now; `NotFound` if none has."""

        def work(connection: Connection) -> FileVersion:
            records.claim(connection, principal.id)
            version = access.named(connection, principal, name, "delete")
            self.put(principal, connection, version)
            return version

        return await self._catalog.write(work)

    def put(self, principal: Principal, connection: Connection, version: FileVersion) -> None:
        """Move the file of *version* here, inside a transaction that has claimed its owner."""
        instant = now()
        records.trash(connection, version.file, instant, instant + self._keep)
        note(connection, principal, "file.delete", version.id, name=version.name)

    async def delete_if_live(self, principal: Principal, ref: str) -> None:
        """`delete`, unless the file is gone already."""
        with contextlib.suppress(NotFound):
            await self.delete(principal, ref)

    async def list(self, principal: Principal, *, limit: int, cursor: str | None) -> Page:
        """One page of deleted files, latest deletion first."""
        access.require(principal, "read")
        return await self._catalog.read(
            lambda connection: records.list_trash(
                connection, principal.id, limit, cursor, principal.places
            )
        )

    async def restore(
        self, principal: Principal, ref: str, *, name: str | None = None
    ) -> FileVersion:
        """Bring a file back, under *name* if given; `AlreadyExists` if the name is taken."""
        if name is not None:
            check_file_name(name)

        def work(connection: Connection) -> FileVersion:
            version = claimed(connection, principal, ref, "write", trashed=True)
            if version.owner == principal.id:
                place = (name or version.name, version.category, version.file)
                access.require_place(principal, *place)
            if name is not None:
                records.rename(connection, version.file, name)
            records.restore(connection, version)
            note(connection, principal, "file.restore", version.id)
            return records.by_number(connection, version.number)

        return await self._catalog.write(work)

    async def purge(self, principal: Principal, ref: str) -> None:
        """Drop a file in the trash for good."""

        def work(connection: Connection) -> list[Digest]:
            version = access.file(connection, principal, ref, "delete", trashed=True)
            note(connection, principal, "file.purge", version.id, name=version.name)
            return _forget(connection, [version.file])

        await remove_unknown(self._catalog, self._blobs, await self._catalog.write(work))

    async def empty(self, principal: Principal) -> int:
        """Drop all that the principal has in the trash; how many files that were."""
        dropped = 0
        while count := await self.drop_some(principal, before=now()):
            dropped += count
        return dropped

    async def drop_some(self, principal: Principal, *, before: Micros) -> int:
        """Drop some files that the principal has in the trash since *before*; 0: there are none."""
        access.require(principal, "delete")

        def chosen(connection: Connection) -> Sequence[str]:
            found = trash.page(connection, principal.id, _BATCH, before, principal.places)
            if found:
                note(connection, principal, "trash.empty", "", files=len(found))
            return found

        return await self._drop_batch(chosen)

    async def drop_expired(self) -> int:
        """Drop every file whose time in the trash is over; how many there were."""
        return await self._drop(lambda connection: records.expired(connection, now(), _BATCH))

    async def _drop(self, select: Callable[[Connection], Sequence[str]]) -> int:
        dropped = 0
        while count := await self._drop_batch(select):
            dropped += count
        return dropped

    async def _drop_batch(self, select: Callable[[Connection], Sequence[str]]) -> int:
        def work(connection: Connection) -> tuple[int, list[Digest]]:
            chosen = select(connection)
            return len(chosen), _forget(connection, chosen)

        count, digests = await self._catalog.write(work)
        await remove_unknown(self._catalog, self._blobs, digests)
        return count


def _forget(connection: Connection, files: Sequence[str]) -> list[Digest]:
    blob_records.claim_all(connection, trash.digests(connection, files))
    dropped = blob_records.drop_unreferenced(connection, records.purge(connection, files))
    tombstones.add(connection, dropped, now())
    return dropped
