"""aiotus 1.1.0, an asyncio client for tus, against a hub."""

from __future__ import annotations

import asyncio
from io import BytesIO

import aiohttp
import aiotus
import pytest
import yarl
from aiotus import core, creation
from tests.clients.stored import MIB, authorization, content, records, stored, upload_id
from tests.support.corrupting import Faults, Proxy
from tests.support.hub import RunningHub

SIZE = 5 * MIB + 1
# aiohttp would rather be given a stream than the bytes that aiotus gives it.
pytestmark = pytest.mark.filterwarnings("ignore:Sending a large body directly:ResourceWarning")
QUICK = aiotus.RetryConfiguration(retry_attempts=3, max_retry_period_seconds=0.1)


@pytest.mark.parametrize("chunk", [MIB, SIZE], ids=["chunks", "whole"])
def test_upload(hub: RunningHub, endpoint: str, chunk: int) -> None:
    data = content(SIZE, chunk)
    name = f"aiotus-{chunk}"
    metadata = {"filename": name.encode(), "filetype": b"image/png", "project": "Ω".encode()}
    location = asyncio.run(
        aiotus.upload(
            endpoint, BytesIO(data), metadata,
            config=QUICK, headers=authorization(hub), chunksize=chunk,
        )
    )  # fmt: skip
    assert location is not None
    record = stored(hub, name, data)
    assert (record["content_type"], record["metadata"]) == ("image/png", {"project": "Ω"})


def test_without_metadata(hub: RunningHub, endpoint: str) -> None:
    data = content(MIB, 2)
    location = asyncio.run(
        aiotus.upload(endpoint, BytesIO(data), config=QUICK, headers=authorization(hub))
    )
    assert location is not None
    stored(hub, upload_id(str(location)), data)


def test_metadata_is_given_back(hub: RunningHub, endpoint: str) -> None:
    """Also of an upload that is done, and a key without a value stays one."""
    metadata = {"filename": b"aiotus-metadata", "project": b"zebra", "flag": None}

    async def upload_and_ask() -> aiotus.Metadata | None:
        location = await aiotus.upload(
            endpoint, BytesIO(b"abc"), metadata, config=QUICK, headers=authorization(hub)
        )
        assert location is not None
        return await aiotus.metadata(location, config=QUICK, headers=authorization(hub))

    assert asyncio.run(upload_and_ask()) == metadata
    record = stored(hub, "aiotus-metadata", b"abc")
    assert record["metadata"]["project"] == "zebra"
    assert "flag" in record["metadata"]


def test_configuration(hub: RunningHub, endpoint: str) -> None:
    async def ask() -> core.ServerConfiguration:
        async with aiohttp.ClientSession() as session:
            return await core.configuration(session, yarl.URL(endpoint), headers=authorization(hub))

    configuration = asyncio.run(ask())
    assert "1.0.0" in configuration.protocol_versions
    assert {"creation", "checksum", "concatenation", "termination"} <= set(
        configuration.protocol_extensions
    )


def test_retries_after_a_cut(hub: RunningHub, proxy: Proxy) -> None:
    data = content(SIZE, 3)
    proxy.faults = Faults(cut_after=3 * MIB)
    location = asyncio.run(
        aiotus.upload(
            f"{proxy.url}/uploads", BytesIO(data), {"filename": b"aiotus-cut"},
            config=QUICK, headers=authorization(hub), chunksize=SIZE,
        )
    )  # fmt: skip
    assert location is not None
    assert proxy.faults.fired == ["cut_after"]
    stored(hub, "aiotus-cut", data)


def test_resume(hub: RunningHub, endpoint: str, proxy: Proxy) -> None:
    """Broken off for good, then taken up by a program that knows nothing but the URL."""
    data = content(SIZE, 4)
    headers = authorization(hub)

    async def upload_twice() -> int:
        async with aiohttp.ClientSession() as session:
            location = await creation.create(
                session, yarl.URL(endpoint), BytesIO(data), {"filename": b"aiotus-resumed"},
                headers=headers,
            )  # fmt: skip
            location = yarl.URL(endpoint).join(location)
            shaky = yarl.URL(proxy.url).join(location.relative())
            proxy.faults = Faults(cut_after=2 * MIB)
            with pytest.raises(aiohttp.ClientError):
                await core.upload_buffer(session, shaky, BytesIO(data), headers=headers)
        async with aiohttp.ClientSession() as session:
            offset = await core.offset(session, location, headers=headers)
            await core.upload_buffer(session, location, BytesIO(data), headers=headers)
        return offset

    assert asyncio.run(upload_twice()) < 2 * MIB
    stored(hub, "aiotus-resumed", data)


def test_concatenation(hub: RunningHub, endpoint: str) -> None:
    parts = [content(size, size) for size in (2 * MIB, 1, 3 * MIB + 7, 4096, MIB)]
    location = asyncio.run(
        aiotus.upload_multiple(
            endpoint, [BytesIO(part) for part in parts],
            {"filename": b"aiotus-joined", "project": b"zebra"},
            config=QUICK, headers=authorization(hub), chunksize=MIB,
        )
    )  # fmt: skip
    assert location is not None
    record = stored(hub, "aiotus-joined", b"".join(parts))
    assert record["metadata"] == {"project": "zebra"}


def test_parts_are_not_files(hub: RunningHub, endpoint: str) -> None:
    """A partial upload is listed nowhere, neither before it is joined nor after."""
    headers = authorization(hub) | {"Upload-Concat": "partial"}
    location = asyncio.run(aiotus.upload(endpoint, BytesIO(b"part"), config=QUICK, headers=headers))
    assert location is not None
    assert records(hub, upload_id(str(location))) == []
