"""Late writes of writers that were shut out.

A writer that does not yield is shut out: nothing it writes is recorded any more. But a write that
the kernel has begun, or that a stopped process is about to make, cannot be cancelled; it ends some
time, wherever the file then is. So the file is left to it, and the upload continues in a copy.
"""

from __future__ import annotations

from functools import partial

from sqlalchemy import Connection

from dsx.blobs.contract import Stage, Stages
from dsx.catalog import uploads
from dsx.catalog.database import Catalog
from dsx.core.errors import NotFound
from dsx.core.intervals import IntervalSet
from dsx.core.ranges import ByteRange
from dsx.core.shield import run_in_thread
from dsx.core.transfers import Upload

_CHUNK = 1024 * 1024


async def leave_behind(catalog: Catalog, stages: Stages, upload: Upload, span: ByteRange) -> None:
    """Return once no writer shut out of *upload* can write to *span* of its stage.

    The caller must hold the right to write there. Writers elsewhere find out when they record: see
    `Stage.is_current`.
    """
    if not upload.generation or upload.state != "open":
        return  # nobody was ever shut out
    copy = await stages.successor(upload.id, span)
    if copy is None:
        return
    try:
        source = await stages.stage(upload.id, existing=True)
        try:
            copied = IntervalSet()
            while True:
                take_place = partial(_take_place, upload, copy, copied)
                missing = await catalog.write(take_place, durable=False)
                if missing is None:
                    return
                for piece in missing.parts:
                    await _copy(source, copy, piece)
                    copied = copied.add(piece)
                await run_in_thread(copy.sync)
        finally:
            source.close()
    except NotFound:
        pass  # it was sealed, or dropped
    finally:
        if copy.id == upload.id:
            copy.close()
        else:
            await copy.discard()


def _take_place(
    upload: Upload, copy: Stage, copied: IntervalSet, connection: Connection
) -> IntervalSet | None:
    """Return the recorded bytes still to be copied; None: *copy* is the stage now."""
    uploads.lock_upload(connection, upload.id)
    current = uploads.get_held(connection, upload.owner, upload.id)
    if current.state != "open":
        raise NotFound(f"The upload {upload.id} is finished.")
    missing = current.received
    for piece in copied.parts:
        missing = missing.remove(piece)
    if missing.parts:
        return missing
    copy.supersede(upload.id)
    return None


async def _copy(source: Stage, target: Stage, piece: ByteRange) -> None:
    for start in range(piece.start, piece.stop, _CHUNK):
        data = await run_in_thread(source.read, start, min(_CHUNK, piece.stop - start))
        await run_in_thread(target.write, start, data)
