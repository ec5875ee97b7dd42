"""What is said of an upload after its bytes have come, before it is finished."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.support.catalogs import opened

from dsx.blobs.local import LocalStore
from dsx.core.errors import Conflict, DigestMismatch, Invalid
from dsx.core.principals import Principal
from dsx.core.transfers import NewUpload
from dsx.hub.limits import Limits
from dsx.hub.transfers.append_request import AppendRequest
from dsx.hub.transfers.control import Controls
from dsx.hub.transfers.uploads import Uploads

ALICE = Principal("alice")
DATA = b"all of its bytes"
RIGHT = hashlib.md5(DATA).hexdigest()


async def sent(uploads: Uploads, **expected: str) -> str:
    """The id of an upload that has all its bytes, hashed as they came."""
    upload = await uploads.create(ALICE, NewUpload(length=len(DATA), expected=expected))

    async def source(write: Callable[[bytes], object], gate: Callable[[], Awaitable[None]]) -> None:
        await gate()
        write(DATA)

    await uploads.append(ALICE, upload.id, source, AppendRequest(0, len(DATA)), finish=False)
    return upload.id


def test_name_and_digest_may_be_told_at_the_end(tmp_path: Path) -> None:
    async def check() -> None:
        async with opened(f"sqlite:///{tmp_path / 'catalog.db'}") as catalog:
            controls = Controls(catalog, grace=1, upload_expiry=3600)
            uploads = Uploads(catalog, LocalStore(tmp_path), controls, Limits())
            good, bad = await sent(uploads), await sent(uploads)
            await uploads.describe(ALICE, good, name="late.png", expected={"md5": RIGHT.upper()})
            await uploads.describe(ALICE, good, category="images")
            version = await uploads.finish(ALICE, good)
            assert version is not None
            assert (version.name, version.category) == ("late.png", "images")
            assert version.content_type == "image/png"
            with pytest.raises(Conflict):
                await uploads.describe(ALICE, good, name="too late")
            with pytest.raises(Invalid):
                await uploads.describe(ALICE, bad, expected={"md5": "no digest"})
            with pytest.raises(DigestMismatch):
                await uploads.describe(ALICE, bad, expected={"sha256": "0" * 64})
            await uploads.describe(ALICE, bad, expected={"md5": "0" * 32})
            with pytest.raises(DigestMismatch):
                await uploads.describe(ALICE, bad, expected={"md5": RIGHT})
            with pytest.raises(DigestMismatch):
                await uploads.finish(ALICE, bad)
            await controls.aclose()

    asyncio.run(check())


def test_a_digest_that_is_overruled_counts_no_more(tmp_path: Path) -> None:
    """Not even if the bytes were found to have it: they are compared with the new one."""

    async def check() -> None:
        async with opened(f"sqlite:///{tmp_path / 'catalog.db'}") as catalog:
            controls = Controls(catalog, grace=1, upload_expiry=3600)
            uploads = Uploads(catalog, LocalStore(tmp_path), controls, Limits())
            id_ = await sent(uploads, md5=RIGHT)
            assert (await uploads.get(ALICE, id_)).blob is not None
            await uploads.describe(ALICE, id_, expected={"md5": "0" * 32}, overrule=True)
            with pytest.raises(DigestMismatch):
                await uploads.finish(ALICE, id_)
            await uploads.describe(ALICE, id_, expected={"md5": RIGHT}, overrule=True)
            assert await uploads.finish(ALICE, id_) is not None
            await controls.aclose()

    asyncio.run(check())
