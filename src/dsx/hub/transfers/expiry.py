"""Ends uploads other than as files: aborted, expired, deleted."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from sqlalchemy import Connection

from dsx.catalog import chunks, tasks, tombstones, uploads
from dsx.core.digest import Digest
from dsx.core.errors import NotFound
from dsx.core.model import Micros
from dsx.core.principals import Principal
from dsx.core.transfers import UploadState
from dsx.hub.accounts.audit import note
from dsx.hub.clock import now
from dsx.hub.integrity.blob_gc import remove_unknown
from dsx.hub.transfers.engine import Engine

_BATCH = 200
_SIGN_OF_LIFE = 2.0
"""Seconds in which a living writer extends the expiry of its upload; see `Controls.look`."""


class UploadExpiry:
    """Ends uploads and drops their bytes."""

    def __init__(self, engine: Engine) -> None:
        self._catalog = engine.catalog
        self._blobs = engine.blobs
        self._stages = engine.stages
        self._controls = engine.controls
        self._tails = engine.tails
        self._expiry = engine.expiry

    async def end(
        self,
        id_: str,
        state: UploadState,
        *,
        held: bool = False,
        why: str | None = None,
        by: Principal | None = None,
        instant: Micros | None = None,
    ) -> None:
        """Close an upload and drop its bytes; *held*: even if it expired under a writer.

        With *why*, only if it is still open, expired or not. *instant*: when; None: now.
        """
        instant = now() if instant is None else instant
        forgotten = instant + self._expiry

        def work(connection: Connection) -> list[Digest] | None:
            uploads.lock_upload(connection, id_)
            if why is not None:
                ended = not uploads.is_open(connection, id_)
            else:
                ended = state == "expired" and not uploads.is_expired(
                    connection, id_, instant, held=held
                )
            if ended:
                return None
            noted = uploads.noted_digest(connection, id_)
            uploads.end(connection, id_, state, forgotten)
            tasks.end(connection, id_, instant, forgotten, state=state, message=why)
            if noted:
                tombstones.add(connection, [noted], instant)
            if by is not None:
                note(connection, by, "upload.abort", id_)
            return [noted] if noted else []

        digests = await self._catalog.write(work)
        if digests is None:  # extended just in time
            return
        self._controls.poke()
        self._tails.drop(id_)
        await self._drop_stage(id_)
        await remove_unknown(self._catalog, self._blobs, digests)

    async def drop_expired(self, instant: Micros) -> int:
        """End uploads that expired by *instant*, and forget those that ended long before.

        Returns how many there were.
        """
        dropped = 0
        while found := await self._expired(instant):
            for id_, state in found:
                if state == "open":
                    await self.end(id_, "expired", instant=instant)
                else:
                    await self._forget(id_)
            dropped += len(found)
        dropped += await self._drop_abandoned(instant)
        await self._catalog.write(lambda connection: chunks.delete_expired(connection, instant))
        for id_ in await self._catalog.write(
            lambda connection: tasks.delete_expired(connection, instant)
        ):
            await self.end(id_, "expired", why="The task's time has run out.")
            dropped += 1
        return dropped

    async def sweep(self) -> int:
        """Drop stages that no upload needs and no process holds; returns how many."""
        found = await self._stages.stages()
        needed = await self._catalog.read(
            lambda connection: uploads.needing_stages(connection, found)
        )
        return await self._stages.sweep(id_ for id_ in found if id_ not in needed)

    async def _drop_abandoned(self, instant: Micros) -> int:
        """End expired uploads whose writers died without leaving: living ones keep theirs alive."""
        suspects = await self._expired(instant, held=True)
        if suspects:
            await asyncio.sleep(_SIGN_OF_LIFE)
            for id_, _ in suspects:
                await self.end(id_, "expired", held=True, instant=instant)
        return len(suspects)

    async def _expired(
        self, instant: Micros, *, held: bool = False
    ) -> Sequence[tuple[str, UploadState]]:
        return await self._catalog.read(
            lambda connection: uploads.expired(connection, instant, _BATCH, held=held)
        )

    async def _forget(self, id_: str) -> None:
        await self._catalog.write(lambda connection: uploads.forget(connection, id_))
        await self._drop_stage(id_)

    async def _drop_stage(self, id_: str) -> None:
        try:
            stage = await self._stages.stage(id_, existing=True)
        except NotFound:
            return
        await stage.discard()
