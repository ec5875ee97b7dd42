"""Uploads: incoming bytes that become a file in one step, or nothing at all.

Every part is written at its final offset of one stage, so nothing is ever reassembled. Acknowledged
bytes are on disk; progress is recorded about twice a second, so that a crash costs no more.
`Uploads` is the interface for protocols. Its neighbours: `creation` (parameters), `append` (bytes),
`leases` (who may write), `running_hash` (hashes), `finish` (the last step), `expiry` (all other
ends).
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TypeVar

import structlog
from sqlalchemy import Connection

from dsx.blobs.contract import BlobStore, Stages
from dsx.catalog import partial_uploads, uploads
from dsx.catalog.database import Catalog
from dsx.core.digest import parse_digest
from dsx.core.errors import Conflict, Denied, DSXError, Invalid, Paused
from dsx.core.model import FileVersion
from dsx.core.principals import Principal, Scope
from dsx.core.transfers import ALGORITHMS, NewUpload, Upload
from dsx.hub.accounts import access
from dsx.hub.accounts.audit import note
from dsx.hub.clock import now
from dsx.hub.files.allowances import Allowances
from dsx.hub.files.preconditions import refuse_taken
from dsx.hub.limits import Limits, check_room, inconsistent
from dsx.hub.transfers import possession
from dsx.hub.transfers.append import Appender, refuse_more
from dsx.hub.transfers.append_request import AppendRequest, BodySource, check
from dsx.hub.transfers.control import Controls
from dsx.hub.transfers.creation import (
    assign,
    changed_facts,
    check_digests,
    described,
    succession,
    with_parts,
)
from dsx.hub.transfers.engine import Engine
from dsx.hub.transfers.expiry import UploadExpiry
from dsx.hub.transfers.finish import Finisher
from dsx.hub.transfers.leases import Leases
from dsx.hub.transfers.running_hash import RunningHashes, check_announced

log = structlog.get_logger(__name__)
T = TypeVar("T")


class Uploads:
    """The uploads of all principals; each call sees only the caller's."""

    def __init__(
        self,
        catalog: Catalog,
        blobs: BlobStore,
        controls: Controls,
        limits: Limits,
        allowances: Allowances | None = None,
    ) -> None:
        """*blobs* must also be `Stages`."""
        if not isinstance(blobs, Stages):
            raise TypeError("uploads need a blob store that can stage them")
        self.limits = limits
        self._catalog = catalog
        self._blobs = blobs
        self.stages: Stages = blobs
        self._controls = controls
        self._leases = Leases(catalog, controls)
        self._tails = RunningHashes()
        self._allowances = allowances = allowances or Allowances(catalog, limits)
        engine = Engine(
            catalog, blobs, blobs, controls, self._leases, self._tails, limits, allowances
        )
        self._expiry = engine.expiry
        self._finisher = Finisher(engine)
        self._appender = Appender(engine, self._finisher.finished)
        self.expiry = UploadExpiry(engine)

    async def create(self, principal: Principal, new: NewUpload) -> Upload:
        """Begin an upload.

        Raises `Invalid` for unacceptable parameters, `TooLarge` or `StorageFull` if its length
        cannot be stored, `PreconditionFailed` if its name is taken and must not be.

        A final upload is made immediately if its partials are complete; one with an id chosen by
        the caller is returned as it is, new or old, and the caller must finish it.
        """
        access.require(principal, "write")
        self.limits.check_size(new.length)
        instant = now()
        upload = described(principal, new, instant, instant + self._expiry)
        room = await self.stages.room()

        def work(connection: Connection) -> Upload:
            if new.id is not None:
                uploads.lock_upload(connection, new.id)
                if (known := uploads.find(connection, principal.id, new.id)) is not None:
                    return known
            if upload.name is not None:
                access.require_name(connection, principal, upload.name, upload.category)
            created = with_parts(connection, principal, upload, instant)
            needed = created.length or 0
            self.limits.check_size(needed)
            self.limits.check_uploads(connection, principal.id)
            check_room(connection, room, needed)
            if created.only_if_absent:
                refuse_taken(connection, principal.id, created.name or "")
            if new.task is not None:
                access.own_task(connection, principal, new.task)
            assign(connection, created, new.task)
            uploads.add(connection, created, needed)
            counted = partial_uploads.counted_as(connection, created)
            self.limits.check_quota(connection, principal.id, needed, counted=counted)
            note(connection, principal, "upload.create", created.id)
            return created

        async with self._allowances.hold(principal.id, new.length or 0) as allowance:
            created = await self._catalog.write(work, spare=False)
            allowance.recorded(created.counted)
        if created.kind != "final" or new.id is not None:
            return created
        try:
            await self._finisher.assemble(principal.id, created.id)
        except DSXError:  # its id is never returned, so the caller cannot drop it
            with suppress(DSXError):
                await self.expiry.end(created.id, "aborted")
            raise
        return await self.get(principal, created.id, "write")

    async def get(self, principal: Principal, id_: str, scope: Scope = "read") -> Upload:
        """Return the upload as recorded; never waits for a writer. `NotFound` or `Gone`.

        *scope*: the intended access; a writer needs its progress.
        """
        access.require(principal, scope)

        def work(connection: Connection) -> Upload:
            found = uploads.get_open(connection, principal.id, id_, now())
            return access.upload(connection, principal, found, scope)

        return await self._catalog.read(work)

    async def list(
        self, principal: Principal, *, after: str = "", limit: int, everyone: bool = False
    ) -> Sequence[Upload]:
        """Return the principal's open uploads, oldest first, with ids greater than *after*.

        *everyone*: those of all owners, for admins.
        """
        access.require(principal, "admin" if everyone else "read")
        access.require_account(principal)
        owner = None if everyone else principal.id
        return await self._catalog.read(
            lambda connection: uploads.page(connection, owner, after, limit)
        )

    async def take_over(self, principal: Principal, id_: str) -> Upload:
        """Return the upload once nobody writes to it: for a client that is about to resume it.

        A stale writer (its connection may be dead without anyone knowing) records what it has and
        ends, within a second. A final whose partials are complete is assembled.
        """
        upload = await self.get(principal, id_, "write")
        if upload.state != "open":
            return upload
        if upload.kind == "final":
            await self._finisher.assemble(principal.id, id_)
        else:
            await self._leases.drain_writers(id_)
        return await self.get(principal, id_, "write")

    async def append(
        self,
        principal: Principal,
        id_: str,
        source: BodySource,
        addition: AppendRequest,
        *,
        finish: bool = True,
    ) -> Upload:
        """Append the bytes of *source*; when this returns, they are on disk.

        With *finish*, the file is made once all bytes are there. If the source fails, the bytes
        received are kept, unless they have a digest. Raises what the source raises,
        `OffsetMismatch`, `Superseded` when a newer writer takes over, `Paused`, `Gone`, `TooLarge`,
        `StorageFull`, `PartCorrupt`, `Conflict` for bytes that differ from earlier ones, `Invalid`
        for contradicting lengths, and what finishing raises.
        """
        upload = await self.get(principal, id_, "write")
        check(upload, addition, self.limits)
        if upload.state == "finished":
            await refuse_more(upload, source, addition)
        else:
            upload = await self._appender.append(upload, source, addition)
        if finish and upload.complete and upload.state == "open":
            return await self._or_due(id_, self._finisher.finished(upload))
        return upload

    async def describe(
        self,
        principal: Principal,
        id_: str,
        *,
        name: str | None = None,
        category: str | None = None,
        content_type: str | None = None,
        expected: Mapping[str, str] | None = None,
        overrule: bool = False,
        parent: str | None = None,
    ) -> Upload:
        """Set fields of an open upload that were not known when it began.

        None leaves a field unchanged. *parent* is the id or number of a file version: the upload
        becomes the next version of that file, under its name, whatever name is given. Raises
        `Invalid` for unacceptable values, `NotFound` if there is no such parent, `Conflict` if it
        has become a file, `DigestMismatch` if another digest was declared before and this does not
        *overrule*.
        """
        await self.get(principal, id_, "write")
        digests = check_digests(expected or {})

        def work(connection: Connection) -> Upload:
            uploads.lock_upload(connection, id_)
            upload = uploads.get_open(connection, principal.id, id_, now())
            if upload.state != "open":
                raise Conflict("The upload is finished.", {"id": id_})
            facts = changed_facts(upload, name, category, content_type)
            if parent is not None:
                facts |= succession(upload, access.file(connection, principal, parent, "write"))
            if facts:
                told = replace(upload, **facts)
                access.require_name(connection, principal, told.name or "", told.category)
                uploads.describe(connection, id_, facts)
            if not overrule:
                check_announced(upload, digests)
            if digests:
                uploads.expect(connection, upload, digests)
            return uploads.get_open(connection, principal.id, id_, now())

        return await self._catalog.write(work)

    async def finish(
        self,
        principal: Principal,
        id_: str,
        *,
        length: int | None = None,
        sha256: str | None = None,
        later: bool = False,
    ) -> FileVersion | None:
        """Make the file, in one step, once all bytes are there; None for a partial.

        Idempotent: finishing again returns the same version. *length* and *sha256* may be declared
        now; without a length the upload ends where its bytes do. Raises `Incomplete` with the gaps,
        `DigestMismatch` if the bytes do not match (they are kept), `TooLarge` over the quota,
        `PreconditionFailed` if the name is taken and must not be, `Paused` while it is paused: then
        *later* finishes it when its task is resumed.
        """
        upload = await self.get(principal, id_, "write")
        if length is not None and upload.length not in {None, length}:
            raise inconsistent(upload.length, length)
        if sha256 is not None:
            await self._finisher.expect(principal.id, id_, parse_digest(sha256.lower()))
        if upload.kind == "final":
            return await self._finisher.assembled(principal.id, id_)
        if upload.length is None:
            await self._appender.fix(upload, length)
        finishing = self._finisher.finish(principal.id, id_)
        return await (self._or_due(id_, finishing) if later else finishing)

    async def resumed(self, id_: str, owner: str) -> None:
        """Finish an upload whose task was resumed, if all its bytes are there.

        Failures are reported to its own requests.
        """
        due = await self._catalog.read(partial(uploads.due, id_=id_))
        if due is None:
            return
        try:
            finishing = self._finisher.assemble if due == "final" else self._finisher.finish
            await finishing(owner, id_)
        except DSXError as error:
            log.info("resumed upload not finished", id=id_, why=error.code, error=error.message)

    async def _or_due(self, id_: str, finishing: Awaitable[T]) -> T:
        """Return the result of *finishing*; a paused upload is marked to finish when resumed."""
        try:
            return await finishing
        except Paused:
            await self._catalog.write(partial(uploads.set_due, id_=id_))
            raise

    async def finish_with_digests(
        self, principal: Principal, id_: str, digests: Mapping[str, str]
    ) -> Upload:
        """Finish an upload whose bytes have *digests* and return it. Idempotent.

        For protocols that declare digests last, if at all; a wrong one may be corrected afterwards.
        Raises as `finish` does, and `Invalid` if a digest is required.
        """
        upload = await self.get(principal, id_, "write")
        if upload.state == "open" and self.limits.checksum and not (digests or upload.expected):
            raise Invalid(
                "Uploads here need a digest: send md5, sha1 or sha256.",
                {"algorithms": [*ALGORITHMS]},
            )
        if digests:
            with suppress(Conflict):  # already finished
                await self.describe(principal, id_, expected=digests, overrule=True)
        await self.finish(principal, id_)
        upload = await self.get(principal, id_, "write")
        check_announced(upload, check_digests(digests))
        return upload

    async def version(self, principal: Principal, upload: Upload) -> FileVersion | None:
        """Return the version an upload became; None if none, `Gone` if it was purged since."""
        if upload.state != "finished" or upload.version is None:
            return None
        return await self._finisher.finish(principal.id, upload.id)

    async def abort(self, principal: Principal, id_: str) -> None:
        """Drop the upload and its bytes; its writers end.

        `Gone` or `NotFound` if it no longer exists. A finished upload has become a file, which
        stays. An admin may abort anybody's.
        """
        owner = await self._catalog.read(partial(uploads.whose, id_=id_))
        if owner in {None, principal.id} or not principal.admin:
            await self.get(principal, id_, "write")
        else:
            opened = partial(uploads.get_open, owner=owner, id_=id_, now=now())
            await self._catalog.read(opened)
        await self.expiry.end(id_, "aborted", by=principal)

    async def holds_bytes(self, id_: str) -> bool:
        """Return whether it is open, or a complete partial."""
        return bool(await self._catalog.read(partial(uploads.needing_stages, ids=[id_])))

    async def stop(self, id_: str, why: str) -> None:
        """Abort an upload of any owner and record *why* at its task; nothing if it is not open."""
        await self.expiry.end(id_, "aborted", why=why)

    async def prove(self, principal: Principal, id_: str, proof: str) -> FileVersion:
        """Finish an upload without its bytes, if the hub has them and *proof* shows possession.

        One attempt per upload. `Denied` reveals neither whether the content is known nor what is
        wrong with the proof, nor whether it was right and something else prevented it (a quota, a
        pause, a taken name): that is reported when the bytes are sent.
        """
        begun = time.monotonic()
        upload = await self.get(principal, id_, "write")
        if upload.challenge is None or upload.length is None:
            raise Denied("The upload has no open challenge; send the bytes.")
        asked = partial(uploads.drop_challenge, id_=id_, challenge=upload.challenge)
        first = await self._catalog.write(asked)
        digest = parse_digest(upload.expected["sha256"])
        with suppress(DSXError):
            if first and await possession.proven(
                self._blobs, digest, upload.length, upload.challenge, proof
            ):
                version = await self._finisher.adopt(principal.id, id_, digest)
                if version is not None:
                    return version
        raise await possession.denial(begun)
