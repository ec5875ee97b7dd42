"""Who may write, and who only wants to know, when an upload ends meanwhile."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

from dsx.blobs.memory import MemoryStore
from dsx.catalog import uploads, writers
from dsx.catalog.engine import Catalog
from dsx.core.model import Principal
from dsx.core.ranges import ByteRange
from dsx.core.transfers import NewUpload
from dsx.hub.clock import now
from dsx.hub.limits import Limits
from dsx.hub.transfers.control import Controls
from dsx.hub.transfers.leases import EVERYTHING, Leases
from dsx.hub.transfers.uploads import Uploads

ALICE = Principal("alice")
HOUR = 3600 * 1_000_000


async def _asked(catalog: Catalog, id_: str) -> None:
    """Return once two write to the upload: the older one is asked to yield."""
    everything = partial(writers.overlapping, upload=id_, span=ByteRange(0, EVERYTHING))
    while len(await catalog.read(everything)) < 2:  # noqa: ASYNC110 (it happens in the database)
        await asyncio.sleep(0.01)


async def _finished_while_asked(catalog: Catalog) -> None:
    await catalog.migrate()
    controls = Controls(catalog, grace=1, upload_expiry=60)
    store = Uploads(catalog, MemoryStore(), controls, Limits())
    id_ = (await store.create(ALICE, NewUpload(name="a", length=0))).id
    async with Leases(catalog, controls).hold(id_, ByteRange(0, EVERYTHING), lambda _: True):
        asking = asyncio.create_task(store.settle(ALICE, id_))
        await _asked(catalog, id_)
        await catalog.write(partial(uploads.end, id_=id_, state="finished", expires=now() + HOUR))
        assert (await asking).state == "finished"
    await controls.aclose()
    await catalog.aclose()


def test_one_who_asks_is_answered_though_the_upload_was_finished_meanwhile(tmp_path: Path) -> None:
    asyncio.run(_finished_while_asked(Catalog(f"sqlite:///{tmp_path / 'catalog.db'}")))
