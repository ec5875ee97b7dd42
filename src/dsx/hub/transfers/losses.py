"""Handles uploads whose disk failed after their bytes had been recorded."""

from __future__ import annotations

from sqlalchemy import Connection

from dsx.blobs.contract import Stage
from dsx.catalog import tasks, uploads
from dsx.core.digest import Hasher
from dsx.core.errors import Gone, NotFound, StorageFailed
from dsx.core.model import BlobInfo
from dsx.core.ranges import ByteRange
from dsx.core.shield import run_in_thread
from dsx.core.transfers import Upload
from dsx.hub.clock import now
from dsx.hub.transfers.engine import Engine

_CHUNK = 1024 * 1024


class Losses:
    """Finds the lost bytes of a complete upload and requests them again."""

    def __init__(self, engine: Engine) -> None:
        self._catalog = engine.catalog
        self._stages = engine.stages
        self._tails = engine.tails

    async def forget(self, upload: Upload, blob: BlobInfo | None) -> None:
        """Verify the bytes on disk; lost ones are marked as not received.

        *blob* is their original digest, if known. All recorded bytes had been synced, so usually
        nothing is lost and finishing can be retried. But more than the last step may have failed,
        so only the medium itself is trusted.
        """
        try:
            stage = await self._stages.stage(upload.id, existing=True)
        except NotFound:
            return
        try:
            gone = await run_in_thread(_missing, stage, upload.length or 0, blob)
        finally:
            stage.close()
        if not gone:
            return

        def work(connection: Connection) -> None:
            uploads.lock_upload(connection, upload.id)
            current = uploads.get_held(connection, upload.owner, upload.id)
            if current.state == "open":
                current = uploads.take_back(connection, current, gone)
                tasks.change(connection, upload.id, now(), done=current.received.size)

        await self._catalog.write(work)
        self._tails.drop(upload.id)


def lost(upload: Upload) -> Gone:
    """Return the failure of an upload whose stage has vanished."""
    return Gone("The upload's bytes are no longer on disk; start again.", {"id": upload.id})


def _missing(stage: Stage, size: int, blob: BlobInfo | None) -> list[ByteRange]:
    """Return the unreadable ranges of the first *size* bytes; all if they do not match *blob*."""
    missing = []
    hasher = Hasher()
    stage.reread()
    for start in range(0, size, _CHUNK):
        piece = ByteRange(start, min(start + _CHUNK, size))
        try:
            data = stage.read(piece.start, piece.size)
        except StorageFailed:
            data = b""
        if len(data) != piece.size:
            missing.append(piece)
        hasher.update(data)
    if not missing and blob is not None and hasher.digest != blob.digest:
        return [ByteRange(0, size)]
    return missing
