"""Who wants to write, and who only wants to know, when an upload ends that very moment."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest

from dsx.blobs.contract import Stage
from dsx.blobs.local import LocalStore
from dsx.blobs.memory import MemoryStore
from dsx.catalog import uploads, writers
from dsx.catalog.database import Catalog
from dsx.core.errors import Conflict, DSXError, TooLarge
from dsx.core.principals import Principal
from dsx.core.ranges import ByteRange
from dsx.core.transfers import NewUpload
from dsx.hub.clock import now
from dsx.hub.limits import Limits
from dsx.hub.transfers.append_request import AppendRequest
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
        asking = asyncio.create_task(store.take_over(ALICE, id_))
        await _asked(catalog, id_)
        await catalog.write(partial(uploads.end, id_=id_, state="finished", expires=now() + HOUR))
        assert (await asking).state == "finished"
    await controls.aclose()
    await catalog.aclose()


def test_one_who_asks_is_answered_though_the_upload_was_finished_meanwhile(tmp_path: Path) -> None:
    asyncio.run(_finished_while_asked(Catalog(f"sqlite:///{tmp_path / 'catalog.db'}")))


class Held(LocalStore):
    """A store that lets something happen before it opens a stage."""

    before: Callable[[], Awaitable[object]] | None = None

    async def stage(
        self, id_: str | None = None, reserve: int = 0, *, existing: bool = False
    ) -> Stage:
        if self.before is not None:
            before, self.before = self.before, None
            await before()
        return await super().stage(id_, reserve, existing=existing)


async def _finished_while_opening(directory: Path, addition: AppendRequest, data: bytes) -> None:
    catalog, blobs = Catalog(f"sqlite:///{directory / 'catalog.db'}"), Held(directory)
    await catalog.migrate()
    controls = Controls(catalog, grace=1, upload_expiry=60)
    store = Uploads(catalog, blobs, controls, Limits())
    id_ = (await store.create(ALICE, NewUpload(name="a", length=4))).id

    async def send(data: bytes, write: Callable[[bytes], object], _: object) -> None:
        write(data)

    await store.append(ALICE, id_, partial(send, b"data"), AppendRequest(0, 4), finish=False)
    blobs.before = partial(store.finish, ALICE, id_)
    try:
        upload = await store.append(ALICE, id_, partial(send, data), addition)
        assert (upload.state, upload.offset) == ("finished", 4)
        version = await store.finish(ALICE, id_)
        assert version is not None
        assert version.version == 1
    finally:
        await controls.aclose()
        await catalog.aclose()


@pytest.mark.parametrize(
    ("addition", "data", "refusal"),
    [
        (AppendRequest(4, 0, last=True), b"", None),
        (AppendRequest(4), b"", None),
        (AppendRequest(4), b"more", TooLarge),
        (AppendRequest(0, 4, part=True), b"data", Conflict),
    ],
)
def test_one_who_comes_too_late_to_write(
    tmp_path: Path, addition: AppendRequest, data: bytes, refusal: type[DSXError] | None
) -> None:
    """It is not told that the bytes are lost."""
    trying = _finished_while_opening(tmp_path, addition, data)
    if refusal is None:
        asyncio.run(trying)
    else:
        with pytest.raises(refusal, match=r"finished|end"):
            asyncio.run(trying)
