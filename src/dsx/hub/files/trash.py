"""The trash: keeps deleted files until they are restored, purged, or expired."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

from sqlalchemy import Connection

from dsx.blobs.contract import BlobStore
from dsx.catalog import blobs as blob_records
from dsx.catalog import files as file_records
from dsx.catalog import tombstones
from dsx.catalog import trash as records
from dsx.catalog.database import Catalog
from dsx.core.digest import Digest
from dsx.core.errors import NotFound, Unprocessable
from dsx.core.model import FileVersion, Micros, Page
from dsx.core.names import check_file_name
from dsx.core.principals import Principal
from dsx.hub.accounts import access
from dsx.hub.accounts.audit import note
from dsx.hub.clock import DAY, now
from dsx.hub.files.preconditions import claimed, require_match
from dsx.hub.integrity.blob_gc import remove_unknown

_BATCH = 200


class Trash:
    """Deletes files, at first reversibly.

    The records go in one transaction, which leaves tombstones; the bytes go after it: see
    `dsx.hub.integrity.blob_gc` for why an upload of equal content never loses its own.
    """

    def __init__(self, catalog: Catalog, blobs: BlobStore, *, days: float) -> None:
        """Keep deleted files for *days* days."""
        self._catalog = catalog
        self._blobs = blobs
        self._keep = int(days * DAY)

    async def delete(
        self, principal: Principal, ref: str, *, only_if_match: frozenset[str] | None = None
    ) -> FileVersion:
        """Move *ref* to the trash: an older version alone, else the whole file.

        The whole file is its id, or the id or number of its newest version. `PreconditionFailed`
        unless the bytes have one of the digests *only_if_match*, if given.
        """

        def work(connection: Connection) -> FileVersion:
            version = claimed(connection, principal, ref, "delete")
            require_match(version, only_if_match)
            put = self.put if version.latest else self._put_alone
            put(principal, connection, version)
            return version

        return await self._catalog.write(work)

    async def delete_file(self, principal: Principal, ref: str) -> FileVersion:
        """Move the file that *ref* is a version of, with all its versions, to the trash."""

        def work(connection: Connection) -> FileVersion:
            version = claimed(connection, principal, ref, "delete")
            self.put(principal, connection, version)
            return version

        return await self._catalog.write(work)

    async def delete_version(self, principal: Principal, ref: str, number: int) -> FileVersion:
        """Move version *number* of the file of *ref* to the trash, even if it is the newest.

        Then the one before it is the newest; if it was the only one, the file is deleted.
        """

        def work(connection: Connection) -> FileVersion:
            claimed(connection, principal, ref, "delete")
            version = access.version(connection, principal, ref, number, "delete")
            self._put_alone(principal, connection, version)
            return version

        return await self._catalog.write(work)

    async def delete_named(self, principal: Principal, name: str) -> FileVersion:
        """Move the principal's own file of this name to the trash; `NotFound` if there is none."""

        def work(connection: Connection) -> FileVersion:
            file_records.lock_owner(connection, principal.id)
            version = access.find(connection, principal, name, "delete")
            self.put(principal, connection, version)
            return version

        return await self._catalog.write(work)

    def put(self, principal: Principal, connection: Connection, version: FileVersion) -> None:
        """Move the file of *version* here, inside a transaction that has locked its owner."""
        instant = now()
        records.put_file(connection, version.file, instant, instant + self._keep)
        note(connection, principal, "file.delete", version.id, name=version.name)

    def _put_alone(
        self, principal: Principal, connection: Connection, version: FileVersion
    ) -> None:
        instant = now()
        records.put_version(connection, version, instant, instant + self._keep)
        facts = {"name": version.name, "version": version.version}
        note(connection, principal, "file.delete", version.id, **facts)

    async def delete_if_live(self, principal: Principal, ref: str) -> None:
        """Move the file to the trash unless it is already gone."""
        with contextlib.suppress(NotFound):
            await self.delete_file(principal, ref)

    async def list(self, principal: Principal, *, limit: int, cursor: str | None) -> Page:
        """Return one page of deleted files, latest deletion first."""
        access.require(principal, "read")
        return await self._catalog.read(
            lambda connection: records.list_deleted(
                connection, principal.id, limit, cursor, principal.places
            )
        )

    async def restore(
        self,
        principal: Principal,
        ref: str,
        *,
        name: str | None = None,
        number: int | None = None,
    ) -> FileVersion:
        """Restore everything deleted with *ref*; if that is an older version of it, only that.

        Or only version *number* of that file. A file is restored under *name*, if given;
        `AlreadyExists` if the name is taken.
        """
        if name is not None:
            check_file_name(name)

        def work(connection: Connection) -> FileVersion:
            version = claimed(connection, principal, ref, "write", trashed=True)
            if number is not None:
                version = access.version(connection, principal, ref, number, "write", trashed=True)
            if version.owner == principal.id:
                place = (name or version.name, version.category, version.file)
                access.require_place(principal, *place)
            if name is not None:
                _rename(connection, version, name)
            records.restore(connection, version, alone=number is not None)
            note(connection, principal, "file.restore", version.id)
            return file_records.by_number(connection, version.number)

        return await self._catalog.write(work)

    async def purge(self, principal: Principal, ref: str) -> None:
        """Permanently delete what `restore` would bring back."""

        def work(connection: Connection) -> list[Digest]:
            version = claimed(connection, principal, ref, "delete", trashed=True)
            note(connection, principal, "file.purge", version.id, name=version.name)
            return _forget(connection, records.drop(connection, version))

        await remove_unknown(self._catalog, self._blobs, await self._catalog.write(work))

    async def drop_some(self, principal: Principal, *, before: Micros) -> int:
        """Purge some files that the principal has in the trash since *before*; 0: none are left."""
        access.require(principal, "delete")

        def chosen(connection: Connection) -> Sequence[records.Deleted]:
            found = records.page(connection, principal.id, _BATCH, before, principal.places)
            if found:
                note(connection, principal, "trash.empty", "", files=len(found))
            return found

        return await self._drop_batch(chosen)

    async def drop_expired(self, instant: Micros) -> int:
        """Purge every file whose time in the trash is over at *instant*; returns how many."""
        dropped = 0
        while count := await self._drop_batch(
            lambda connection: records.expired(connection, instant, _BATCH)
        ):
            dropped += count
        return dropped

    async def _drop_batch(self, select: Callable[[Connection], Sequence[records.Deleted]]) -> int:
        def work(connection: Connection) -> tuple[int, list[Digest]]:
            chosen = select(connection)
            return len(chosen), _forget(connection, records.drop_deleted(connection, chosen))

        count, digests = await self._catalog.write(work)
        await remove_unknown(self._catalog, self._blobs, digests)
        return count


def _rename(connection: Connection, version: FileVersion, name: str) -> None:
    """Rename the file of *version*, which is about to be restored."""
    if records.has_live(connection, version.file, version.number):
        raise Unprocessable(
            f"{version.name!r} still has versions outside the trash: restore this one "
            "under the same name.",
            {"field": "name"},
        )
    file_records.rename(connection, version.file, name)


def _forget(connection: Connection, digests: Sequence[Digest]) -> list[Digest]:
    dropped = blob_records.drop_unreferenced(connection, digests)
    tombstones.add(connection, dropped, now())
    return dropped
