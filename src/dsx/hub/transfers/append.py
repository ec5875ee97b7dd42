"""One request that adds bytes to an upload: admitted, received under a lease, recorded."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from sqlalchemy import Connection

from dsx.blobs.contract import Stage
from dsx.catalog import tasks, uploads, writers
from dsx.core.digest import Buffer
from dsx.core.errors import (
    Conflict,
    DigestMismatch,
    DSXError,
    Gone,
    Invalid,
    NotFound,
    StorageFailed,
    Superseded,
    TooLarge,
)
from dsx.core.ranges import ByteRange
from dsx.core.shield import ended, run_in_thread, run_to_completion
from dsx.core.transfers import Upload
from dsx.hub.clock import now
from dsx.hub.files.allowances import Allowance
from dsx.hub.limits import inconsistent
from dsx.hub.transfers.alone import enter_alone, wait_for_silence
from dsx.hub.transfers.append_request import AppendRequest, BodySource, brought, mismatch
from dsx.hub.transfers.control import Control
from dsx.hub.transfers.creation import fix_length
from dsx.hub.transfers.engine import Engine
from dsx.hub.transfers.evicted import leave_behind
from dsx.hub.transfers.leases import EVERYTHING
from dsx.hub.transfers.staged import require_here, settle_here
from dsx.hub.transfers.writer import StageWriter, WriteFence

CHECKPOINT_SECONDS = 0.5


async def refuse_more(upload: Upload, source: BodySource, addition: AppendRequest) -> None:
    """Receive nothing for a finished upload: `TooLarge` if the request has any bytes."""
    if addition.part:
        raise Conflict("The upload is finished.", {"id": upload.id})

    def write(data: Buffer) -> None:
        if len(data):
            raise TooLarge(
                f"The upload's length is {upload.length}: there is nothing more to send.",
                {"limit": upload.length},
            )

    await source(write, _at_once)


class Appender:
    """Carries out append requests."""

    def __init__(self, engine: Engine, finish: Callable[[Upload], Awaitable[Upload]]) -> None:
        """*finish* makes the file of an upload that has all its bytes."""
        self._finish = finish
        self._catalog = engine.catalog
        self._stages = engine.stages
        self._controls = engine.controls
        self._leases = engine.leases
        self._tails = engine.tails
        self._limits = engine.limits
        self._allowances = engine.allowances
        self._expiry = engine.expiry

    async def append(self, upload: Upload, source: BodySource, addition: AppendRequest) -> Upload:
        """Append the bytes of *source*; when this returns, they are on disk and recorded."""
        require_here(upload, self._stages)  # before an older writer is asked to yield
        span = addition.span if addition.part else ByteRange(0, EVERYTHING)
        room = await self._stages.room() if addition.length is not None else None
        enter = partial(self._entered, upload, room, addition)
        admit = None
        if addition.alone:
            await wait_for_silence(self._catalog, upload)
            admit = partial(enter_alone, upload.id, self._expiry)
        async with self._leases.hold(upload.id, span, enter, admit) as (control, current):
            stage = await self._open(current, span)
            if stage is None:
                return await self._too_late(upload, source, addition)
            try:
                new = brought(current, addition)
                async with self._allowances.hold(upload.owner, new) as held:
                    allowance = held if current.length is None else None
                    return await self._receive(
                        current, stage, source, addition, control=control, allowance=allowance
                    )
            finally:
                stage.close()

    async def fix(self, upload: Upload, length: int | None) -> Upload:
        """Return *upload* with its length, unknown before; None: it ends where its bytes do.

        Active writers must leave first, since they may write beyond that end.
        """
        room = await self._stages.room()
        then = partial(self._ended, upload, length, room)
        async with self._leases.hold(upload.id, ByteRange(0, EVERYTHING), then) as (_, fixed):
            return fixed

    def _entered(
        self, upload: Upload, room: int | None, addition: AppendRequest, connection: Connection
    ) -> Upload:
        """Return the current upload, with its length if declared now; *addition* must fit."""
        uploads.lock_upload(connection, upload.id)
        current = uploads.get_open(connection, upload.owner, upload.id, now())
        if not addition.part and current.offset != addition.offset:
            raise mismatch(current, addition.offset)
        current = settle_here(connection, current, self._stages)
        return self._sized(connection, current, addition.length, room)

    def _ended(
        self, upload: Upload, length: int | None, room: int | None, connection: Connection
    ) -> Upload:
        """Return the current upload with *length*; None: it ends where its bytes do."""
        uploads.lock_upload(connection, upload.id)
        current = uploads.get_open(connection, upload.owner, upload.id, now())
        if length is None and current.length is None:
            length = current.received.end
        return self._sized(connection, current, length, room)

    def _sized(
        self, connection: Connection, current: Upload, length: int | None, room: int | None
    ) -> Upload:
        """Return *current* with its length, if that is declared now and allowed."""
        if length is None or length == current.length:
            return current
        if current.length is not None or length < current.received.end:
            raise inconsistent(current.length or current.received.end, length)
        return fix_length(connection, self._limits, current, length, room)

    async def _open(self, upload: Upload, span: ByteRange) -> Stage | None:
        """Return the upload's stage, to write to *span*; None if it no longer has one."""
        if upload.state == "finished":
            return None
        await leave_behind(self._catalog, self._stages, upload, span)
        try:
            stage = await self._stages.stage(upload.id, existing=bool(upload.received.parts))
        except NotFound:
            return None
        try:
            await run_in_thread(stage.occupy, span)
        except BaseException:
            stage.close()
            raise
        return stage

    async def _too_late(
        self, upload: Upload, source: BodySource, addition: AppendRequest
    ) -> Upload:
        """Return the upload if it was finished meanwhile; `Gone` if its bytes are lost instead.

        Bytes are sealed in a transaction that holds the upload's lock. If the finisher failed
        between sealing and recording, this completes it.
        """

        def work(connection: Connection) -> Upload:
            uploads.lock_upload(connection, upload.id)
            return uploads.get_held(connection, upload.owner, upload.id)

        current = await self._catalog.write(work, durable=False)
        if current.state != "finished" and current.blob is None:
            raise Gone(
                "The upload's bytes are no longer on disk; start again.",
                {"id": upload.id},
            )
        if current.state != "finished":
            current = await self._finish(current)
        await refuse_more(current, source, addition)
        return current

    async def _receive(
        self,
        upload: Upload,
        stage: Stage,
        source: BodySource,
        addition: AppendRequest,
        *,
        control: Control,
        allowance: Allowance | None,
    ) -> Upload:
        """Write incoming bytes, and record what may be kept of them, even on failure."""
        hashed = upload.kind != "partial"  # partials are copied, not sealed
        tail = None if addition.checked or not hashed else self._tails.of(upload, addition.digests)
        limit = upload.length if upload.length is not None else self._limits.file_size
        guard = WriteFence(control, self._controls)
        incoming = StageWriter(
            stage, guard, tail, start=addition.offset, received=upload.received, limit=limit
        )
        incoming.allowance = allowance
        if addition.claimed:
            incoming.exactly = addition.size
        together = addition.checked or addition.claimed
        record = partial(self._record, upload, stage, incoming, control)
        try:
            pouring = control.run(_pour(source, incoming, control))
            await _with_checkpoints(pouring, None if together else record)
            incoming.end()
            if (digest := addition.digest()) is not None:
                await run_in_thread(incoming.verify, digest)
            length = incoming.position if addition.last else None
            recorded = await run_to_completion(record(leave=True, length=length))
        except BaseException as failure:
            kept = not (addition.checked or _wrong(failure, addition) or control.lost)
            await run_to_completion(self._break_off(upload.id, incoming, record, failure, kept))
            raise
        if hashed:
            await run_in_thread(self._tails.of(recorded).follow, stage, recorded.offset)
        return recorded

    async def _break_off(
        self,
        id_: str,
        incoming: StageWriter,
        record: Callable[..., Awaitable[object]],
        failure: BaseException,
        kept: bool,
    ) -> None:
        """Record the bytes received before *failure*, if *kept*; the hash is rolled back to them.

        After a failed sync nothing new is recorded: another sync would succeed, but the kernel has
        dropped those bytes, possibly those of other writers, too.
        """
        recorded = False
        incoming.go_back(kept=kept)
        try:
            if kept:
                with suppress(DSXError):  # raise the original failure instead
                    await record(leave=True)
                    recorded = True
            elif isinstance(failure, StorageFailed):
                with suppress(DSXError):
                    await self._leases.shut_all_out(id_)
        finally:
            if not recorded:
                incoming.go_back(kept=False)

    async def _record(
        self,
        upload: Upload,
        stage: Stage,
        incoming: StageWriter,
        control: Control,
        *,
        leave: bool = False,
        length: int | None = None,
    ) -> Upload:
        """Make the received bytes durable, then record them; *leave*: and end the lease."""
        stop, mark = incoming.reached
        span = ByteRange(incoming.start, stop)
        if span.size:
            await run_in_thread(stage.sync)
        token = control.token or ""

        def work(connection: Connection) -> tuple[Upload, int]:
            uploads.lock_upload(connection, upload.id)
            present = writers.leave(connection, token) if leave else token in writers.asked(
                connection, [token]
            )  # fmt: skip
            before = current = uploads.get_held(connection, upload.owner, upload.id)
            left_behind = before.state == "open" and span.size and not stage.is_current()
            if not present or left_behind:
                raise Superseded("Another writer took over; query the upload's offset.")
            new = leave or before.received.add(span) != before.received
            expires = now() + self._expiry if new else before.expires  # see `enter_alone`
            current = uploads.advance(connection, current, span, expires)
            if length is not None and current.length is None:
                current = uploads.set_length(connection, current, length)
                tasks.change(connection, upload.id, now(), total=length)
            tasks.change(connection, upload.id, now(), done=current.received.size)
            if leave and current.complete and current.kind == "whole":
                current = self._noted(connection, current)
            return current, current.counted - before.counted

        recorded, counted = await self._catalog.write(work, durable=leave)
        control.released = leave
        if incoming.allowance is not None:
            incoming.allowance.recorded(counted)
        incoming.keep(mark, recorded.offset)
        return recorded

    def _noted(self, connection: Connection, upload: Upload) -> Upload:
        """Return the complete *upload* with its digest noted, if known and as expected."""
        tail = self._tails.of(upload)
        with suppress(DigestMismatch):
            if tail.hasher.size == upload.length:
                blob = tail.blob(upload)
                uploads.note_digest(connection, upload.id, blob)
                return replace(upload, blob=blob)
        return upload


async def _at_once() -> None:
    """Gate of a request that cannot be paused: its upload has ended."""


async def _pour(source: BodySource, incoming: StageWriter, control: Control) -> None:
    await source(incoming.write, control.proceed)


async def _with_checkpoints(
    work: Coroutine[Any, Any, None], record: Callable[[], Coroutine[Any, Any, object]] | None
) -> None:
    """Await *work* and *record* its progress periodically."""
    working = asyncio.ensure_future(work)
    try:
        while not (await asyncio.wait([working], timeout=CHECKPOINT_SECONDS))[0]:
            if record is not None:
                await run_to_completion(record())
    finally:
        if not working.done():
            await ended(working)
    working.result()


def _wrong(failure: BaseException, addition: AppendRequest) -> bool:
    """Return whether the bytes are wrong or lost: none since the last record are kept.

    `Superseded` and `Paused` are conflicts of another kind.
    """
    if addition.claimed and isinstance(failure, Invalid):
        return True
    return isinstance(failure, (TooLarge, StorageFailed)) or type(failure) is Conflict
