"""The last step of an upload: its bytes become a blob and a file, or a partial is complete."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from weakref import WeakValueDictionary

import structlog
from sqlalchemy import Connection

from dsx.blobs.contract import Stage
from dsx.catalog import blobs as blob_records
from dsx.catalog import files, partial_uploads, tasks, uploads
from dsx.core.digest import Digest
from dsx.core.errors import DSXError, Gone, Incomplete, NotFound, Paused, StorageFailed
from dsx.core.model import BlobInfo, FileVersion, NewFile
from dsx.core.principals import Principal
from dsx.core.ranges import ByteRange
from dsx.core.shield import run_in_thread, run_to_completion
from dsx.core.transfers import Upload
from dsx.hub.accounts.audit import note
from dsx.hub.clock import SECOND, now
from dsx.hub.files.preconditions import refuse_taken
from dsx.hub.files.receiver import as_received
from dsx.hub.integrity.blob_gc import recorded, spare
from dsx.hub.transfers.creation import fix_length, total
from dsx.hub.transfers.engine import Engine
from dsx.hub.transfers.evicted import leave_behind
from dsx.hub.transfers.leases import EVERYTHING
from dsx.hub.transfers.losses import Losses, lost
from dsx.hub.transfers.running_hash import another_digest
from dsx.hub.transfers.staged import require_here, require_together, settle_here

log = structlog.get_logger(__name__)

_CHUNK = 1024 * 1024
_SHOWN = 100
_PARTS_LEFT = 600 * SECOND
"""Partials that have become a file no longer count, so they are kept only briefly."""


class Finisher:
    """Finishes uploads; safe to run twice, concurrently, and again after a crash at any point.

    Bytes are hashed and the digest is noted before they are sealed; sealing happens inside the
    transaction that makes the file, under the locks of owner, upload and blob. After a crash in
    between, the noted digest identifies the blob.
    """

    def __init__(self, engine: Engine) -> None:
        self._catalog = engine.catalog
        self._blobs = engine.blobs
        self._stages = engine.stages
        self._leases = engine.leases
        self._tails = engine.tails
        self._limits = engine.limits
        self._expiry = engine.expiry
        self._losses = Losses(engine)
        self._busy: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def finish(self, owner: str, id_: str) -> FileVersion | None:
        """See `Uploads.finish`."""
        upload = await self._get(owner, id_)
        if upload.state == "finished":
            return await self._made(upload)
        if not upload.complete:
            raise _incomplete(upload)
        return await self._made(await self.finished(upload))

    async def expect(self, owner: str, id_: str, digest: Digest) -> None:
        """Require the bytes to hash to *digest*.

        `DigestMismatch` if they are known not to, or another digest was declared.
        """

        def work(connection: Connection) -> None:
            uploads.lock_upload(connection, id_)
            upload = uploads.get_open(connection, owner, id_, now())
            known = upload.blob.digest if upload.blob else upload.expected.get("sha256")
            if upload.version is not None and (
                made := files.find_number(connection, upload.version)
            ):
                known = made.sha256
            if known is not None and known != digest:
                raise another_digest("sha256", digest, known)
            if upload.state == "open":
                uploads.expect(connection, upload, {"sha256": digest})

        # The sealing that follows is durable; a repeated finish declares the digest again.
        await self._catalog.write(work, durable=False)

    async def finished(self, upload: Upload) -> Upload:
        """Finish *upload*, which is complete, and return it; `Paused` if it is paused."""
        refuse_paused(upload)
        async with self._busy.setdefault(upload.id, asyncio.Lock()):
            if upload.kind == "partial":
                await self._ready(upload)
                return replace(upload, state="finished")
            number = await self._seal(upload)
            return replace(upload, state="finished", version=number)

    async def assemble(self, owner: str, id_: str) -> FileVersion | None:
        """Make the file of a final upload if its partials are complete; None: not yet."""
        upload = await self._get(owner, id_)
        if upload.state == "finished":
            return await self._made(upload)
        parts = [await self._get(owner, part) for part in upload.parts]
        length = total([part.length for part in parts])
        if upload.length is None and length is not None:
            upload = await self._catalog.write(partial(self._fix, owner, id_, length))
        if not all(part.state == "finished" for part in parts):
            return None
        if not upload.complete:
            require_together(upload, parts, self._stages)
            span, then = ByteRange(0, EVERYTHING), partial(self._settled, owner, id_)
            async with self._leases.hold(id_, span, then) as (control, upload):
                if not upload.complete:  # else another request copied them while we waited
                    await control.run(self._copy(upload, parts))
        return await self.finish(owner, id_)

    async def assembled(self, owner: str, id_: str) -> FileVersion:
        """Make the file of a final upload; `Incomplete` if its partials are not complete."""
        version = await self.assemble(owner, id_)
        if version is None:
            upload = await self._get(owner, id_)
            raise Incomplete(
                "The partial uploads it joins are not complete.",
                {"missing": [], "length": upload.length, "offset": upload.offset},
            )
        return version

    async def adopt(self, owner: str, id_: str, digest: Digest) -> FileVersion | None:
        """Make the file of an upload from an existing blob; None if there is none."""

        def work(connection: Connection) -> FileVersion | None:
            files.lock_owner(connection, owner)
            uploads.lock_upload(connection, id_)
            upload = uploads.get_open(connection, owner, id_, now())
            refuse_paused(upload)
            blob_records.lock_blob(connection, digest)
            blob = blob_records.get(connection, digest)
            if upload.state != "open" or blob is None or blob.size != upload.length:
                return None
            new = self._admitted(connection, upload, blob)
            return self._make(connection, upload, new, blob)

        version = await self._catalog.write(work)
        if version is not None:
            self._tails.drop(id_)
            with suppress(NotFound):  # no byte was received, or by another server, which sweeps it
                await (await self._stages.stage(id_, existing=True)).discard()
        return version

    async def _get(self, owner: str, id_: str) -> Upload:
        return await self._catalog.read(partial(self._now, owner, id_))

    def _now(self, owner: str, id_: str, connection: Connection) -> Upload:
        return uploads.get_open(connection, owner, id_, now())

    def _settled(self, owner: str, id_: str, connection: Connection) -> Upload:
        uploads.lock_upload(connection, id_)
        return settle_here(connection, self._now(owner, id_, connection), self._stages)

    async def _made(self, upload: Upload) -> FileVersion | None:
        number = upload.version
        if number is None:
            return None
        version = await self._catalog.read(lambda connection: files.find_number(connection, number))
        if version is None:
            raise Gone("The file made by this upload was permanently deleted.", {"id": upload.id})
        return version

    async def _ready(self, partial_: Upload) -> None:
        """Record that a partial has all its bytes; continue the finals that wait for it.

        Failures of a final are reported to its own requests.
        """

        def work(connection: Connection) -> list[tuple[str, str]]:
            uploads.lock_upload(connection, partial_.id)
            refuse_paused(uploads.get_held(connection, partial_.owner, partial_.id))
            self._end(connection, partial_, None)
            return partial_uploads.finals_of(connection, partial_.id)

        for final, owner in await self._catalog.write(work):
            try:
                await self.assemble(owner, final)
            except DSXError as error:
                log.info("final upload not finished", id=final, why=error.code, error=error.message)

    async def _seal(self, upload: Upload) -> int:
        """Return the number of the file version that *upload* became."""
        require_here(upload, self._stages)
        await leave_behind(self._catalog, self._stages, upload, ByteRange(0, EVERYTHING))
        stage = await self._stage(upload)
        if stage is None:
            return await self._sealed_before(upload)
        blob = upload.blob
        try:
            blob = blob or await self._hash(upload, stage)
            prepare = partial(stage.prepare, blob.digest, blob.size)
            with as_received():
                number = await recorded(
                    self._catalog,
                    self._blobs,
                    blob.digest,
                    prepare,
                    partial(self._commit, upload, stage, blob),
                )
            await stage.discard()
        except StorageFailed:
            with suppress(DSXError):  # raise the original failure instead
                await run_to_completion(self._losses.forget(upload, blob))
            raise
        finally:
            stage.close()
        self._tails.drop(upload.id)
        return number

    async def _sealed_before(self, upload: Upload) -> int:
        """Return the version if the stage is gone: after another finisher, or a crash."""
        upload = await self._get(upload.owner, upload.id)
        if upload.state == "finished" and upload.version is not None:
            return upload.version
        blob = upload.blob
        if blob is None or not await self._blobs.confirm(blob.digest, blob.size):
            raise lost(upload)
        return await self._catalog.write(partial(self._commit, upload, None, blob))

    async def _stage(self, upload: Upload) -> Stage | None:
        """Return the upload's stage; None if its bytes were sealed."""
        try:
            return await self._stages.stage(upload.id, existing=bool(upload.length))
        except NotFound:
            return None

    async def _source(self, part: Upload) -> Stage:
        """Return the stage of a complete partial; `Gone` if it has vanished."""
        stage = await self._stage(part)
        if stage is None:
            raise lost(part)
        return stage

    async def _hash(self, upload: Upload, stage: Stage) -> BlobInfo:
        """Hash the remaining bytes, compare with the expected digests, note the digest."""
        size = upload.length or 0
        tail = self._tails.of(upload)
        await run_in_thread(tail.reach, stage, size)
        if tail.hasher.size != size:
            tail = self._tails.anew(upload)
            await run_in_thread(tail.reach, stage, size)
        blob = tail.blob(upload)
        await self._catalog.write(partial(uploads.note_digest, id_=upload.id, blob=blob))
        return blob

    def _commit(
        self, upload: Upload, stage: Stage | None, blob: BlobInfo, connection: Connection
    ) -> int:
        """Return the version number; the bytes are in *stage*, or (None) already sealed."""
        files.lock_owner(connection, upload.owner)
        uploads.lock_upload(connection, upload.id)
        current = uploads.get_held(connection, upload.owner, upload.id)
        if current.state == "finished" and current.version is not None:
            return current.version
        refuse_paused(current)
        blob_records.lock_blob(connection, blob.digest)
        new = self._admitted(connection, current, blob)
        spare(connection, blob.digest)
        if stage is not None:
            stage.seal(blob.digest, blob.size)
        blob_records.add(connection, blob, now())
        return self._make(connection, current, new, blob).number

    def _admitted(self, connection: Connection, upload: Upload, blob: BlobInfo) -> NewFile:
        """Return the fields of the file, if it may be made now: checked before sealing."""
        counted = partial_uploads.counted_as(connection, upload)
        self._limits.check_quota(connection, upload.owner, blob.size, counted=counted)
        new = NewFile(
            upload.owner,
            upload.name or upload.id,
            upload.category,
            upload.content_type,
            upload.metadata,
            upload.tags,
        )
        if upload.only_if_absent:
            refuse_taken(connection, new.owner, new.name)
        return new

    def _make(
        self, connection: Connection, upload: Upload, new: NewFile, blob: BlobInfo
    ) -> FileVersion:
        version = files.add(connection, new, blob, now(), id_=upload.id)
        owner = Principal(upload.owner)  # the audit log has the token at the upload's creation
        note(connection, owner, "file.create", version.id, name=version.name, upload=upload.id)
        self._end(connection, upload, version.number)
        if upload.kind == "final":
            partial_uploads.consume_parts(connection, upload.id, now() + _PARTS_LEFT)
        return version

    def _end(self, connection: Connection, upload: Upload, version: int | None) -> None:
        instant = now()
        expires = instant + self._expiry
        uploads.end(connection, upload.id, "finished", expires, version=version)
        done = upload.length or 0
        values = {"state": "completed", "done": done, "total": done}
        tasks.end(connection, upload.id, instant, expires, **values)

    async def _copy(self, final: Upload, parts: list[Upload]) -> None:
        """Copy the partials' bytes into the final, recorded one partial at a time."""
        target = await self._stages.stage(final.id, existing=bool(final.received.parts))
        tail = self._tails.of(final)
        start = 0
        try:
            for part in parts:
                stop = start + (part.length or 0)
                if final.offset < stop:
                    source = await self._source(part)
                    try:
                        await run_in_thread(_copy_all, source, target, start, stop, tail.feed)
                    finally:
                        source.close()
                    await run_in_thread(target.sync)
                    final = await self._catalog.write(
                        partial(self._advance, final.owner, final.id, ByteRange(start, stop))
                    )
                start = stop
        except BaseException:
            self._tails.drop(final.id)  # it has hashed unrecorded bytes
            raise
        finally:
            target.close()

    def _fix(self, owner: str, id_: str, length: int, connection: Connection) -> Upload:
        uploads.lock_upload(connection, id_)
        current = uploads.get_open(connection, owner, id_, now())
        return fix_length(connection, self._limits, current, length, None)

    def _advance(self, owner: str, id_: str, span: ByteRange, connection: Connection) -> Upload:
        uploads.lock_upload(connection, id_)
        current = uploads.get_held(connection, owner, id_)
        tasks.change(connection, id_, now(), done=span.stop)
        return uploads.advance(connection, current, span, now() + self._expiry)


def _copy_all(
    source: Stage, target: Stage, start: int, stop: int, feed: Callable[[int, bytes], object]
) -> None:
    for position in range(start, stop, _CHUNK):
        size = min(_CHUNK, stop - position)
        data = _read_back(source, position - start, size)
        if len(data) != size:
            raise Gone("The bytes of a partial upload are no longer on disk; start again.")
        target.write(position, data)
        feed(position, data)


def _read_back(source: Stage, offset: int, size: int) -> bytes:
    """Return bytes of a partial upload; none if two attempts to read them fail."""
    try:
        return source.read(offset, size)
    except StorageFailed:
        source.reread()
    try:
        return source.read(offset, size)
    except StorageFailed:
        return b""


def refuse_paused(upload: Upload) -> None:
    """Raise `Paused` if *upload* is: then it becomes no file, even if complete."""
    if upload.paused and upload.state == "open":
        raise Paused("The upload is paused; resume its task first.", {"id": upload.id})


def _incomplete(upload: Upload) -> Incomplete:
    length = upload.length or 0
    missing = [[gap.start, gap.stop] for gap in upload.received.missing(length)]
    return Incomplete(
        f"{length - upload.received.size} bytes have not arrived yet.",
        {"missing": missing[:_SHOWN], "length": upload.length, "offset": upload.offset},
    )
