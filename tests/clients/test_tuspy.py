"""tuspy 1.1.0, the tus project's own Python client, against a hub."""

from __future__ import annotations

import asyncio
from io import BytesIO
from pathlib import Path

import pytest
from tests.clients.stored import MIB, authorization, content, stored, upload_id
from tests.support.corrupting import Faults, Proxy
from tests.support.hub import RunningHub
from tusclient.client import TusClient
from tusclient.exceptions import TusCommunicationError, TusUploadFailed
from tusclient.storage.filestorage import FileStorage

SIZE = 5 * MIB + 1
# tuspy opens the file anew for every request and leaves closing it to the garbage collector.
leaks_files = pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")


@pytest.fixture
def client(hub: RunningHub, endpoint: str) -> TusClient:
    return TusClient(endpoint, headers=authorization(hub))


@pytest.fixture
def shaky(hub: RunningHub, proxy: Proxy) -> TusClient:
    """A client whose connection can be made to fail."""
    return TusClient(f"{proxy.url}/uploads", headers=authorization(hub))


def test_one_request(hub: RunningHub, client: TusClient) -> None:
    data = content(SIZE, 1)
    metadata = {"filename": "tuspy/plain ü.bin", "filetype": "image/png", "project": "zebra — Ω"}
    client.uploader(file_stream=BytesIO(data), metadata=metadata).upload()
    record = stored(hub, "tuspy/plain ü.bin", data)
    assert record["content_type"] == "image/png"
    assert record["metadata"] == {"project": "zebra — Ω"}


def test_chunks(hub: RunningHub, client: TusClient) -> None:
    data = content(SIZE, 2)
    uploader = client.uploader(
        file_stream=BytesIO(data), chunk_size=MIB, metadata={"filename": "tuspy-chunks"}
    )
    uploader.upload()
    assert uploader.offset == SIZE
    stored(hub, "tuspy-chunks", data)


def test_empty(hub: RunningHub, client: TusClient) -> None:
    client.uploader(file_stream=BytesIO(), metadata={"filename": "tuspy-empty"}).upload()
    stored(hub, "tuspy-empty", b"")


def test_without_metadata(hub: RunningHub, client: TusClient) -> None:
    data = content(MIB, 3)
    uploader = client.uploader(file_stream=BytesIO(data))
    uploader.upload()
    assert stored(hub, upload_id(uploader.url), data)["metadata"] == {}


def test_async(hub: RunningHub, client: TusClient) -> None:
    data = content(SIZE, 4)
    uploader = client.async_uploader(
        file_stream=BytesIO(data), chunk_size=MIB, metadata={"filename": "tuspy-async"}
    )
    asyncio.run(uploader.upload())
    stored(hub, "tuspy-async", data)


def test_checksums(hub: RunningHub, client: TusClient) -> None:
    data = content(SIZE, 5)
    client.uploader(
        file_stream=BytesIO(data),
        chunk_size=MIB,
        metadata={"filename": "tuspy-checksums"},
        upload_checksum=True,
    ).upload()
    stored(hub, "tuspy-checksums", data)


def test_corrupted_chunk_is_refused(hub: RunningHub, shaky: TusClient, proxy: Proxy) -> None:
    data = content(SIZE, 6)
    uploader = shaky.uploader(
        file_stream=BytesIO(data),
        chunk_size=2 * MIB,
        metadata={"filename": "tuspy-refused"},
        upload_checksum=True,
    )
    proxy.faults = Faults(flip_body=2)
    with pytest.raises(TusUploadFailed) as caught:
        uploader.upload()
    assert caught.value.status_code == 460
    assert proxy.faults.fired == ["flip_body"]
    assert uploader.get_offset() == 2 * MIB  # nothing of the corrupted chunk was kept
    uploader.upload()
    stored(hub, "tuspy-refused", data)


def test_corrupted_chunk_is_sent_again(hub: RunningHub, shaky: TusClient, proxy: Proxy) -> None:
    data = content(SIZE, 7)
    proxy.faults = Faults(flip_body=1)
    shaky.uploader(
        file_stream=BytesIO(data),
        chunk_size=MIB,
        metadata={"filename": "tuspy-again"},
        upload_checksum=True,
        retries=2,
        retry_delay=0,
    ).upload()
    assert proxy.faults.fired == ["flip_body"]
    stored(hub, "tuspy-again", data)


@leaks_files
def test_resume_from_a_stored_url(hub: RunningHub, client: TusClient, tmp_path: Path) -> None:
    data = content(SIZE, 8)
    path = tmp_path / "data"
    path.write_bytes(data)
    storage = FileStorage(str(tmp_path / "urls.json"))
    options = {
        "chunk_size": MIB,
        "metadata": {"filename": "tuspy-resumed"},
        "store_url": True,
        "url_storage": storage,
    }
    first = client.uploader(str(path), **options)
    first.upload(stop_at=2 * MIB + 5)
    second = client.uploader(str(path), **options)
    assert (second.url, second.offset) == (first.url, 2 * MIB + 5)
    second.upload()
    storage.close()
    stored(hub, "tuspy-resumed", data)


def test_connection_cut_within_a_chunk(hub: RunningHub, shaky: TusClient, proxy: Proxy) -> None:
    data = content(SIZE, 9)
    uploader = shaky.uploader(file_stream=BytesIO(data), metadata={"filename": "tuspy-cut"})
    proxy.faults = Faults(cut_after=3 * MIB)
    with pytest.raises((TusUploadFailed, TusCommunicationError)):
        uploader.upload()
    assert proxy.faults.fired == ["cut_after"]
    # What the cut request has sent may be written only after this one asked for the offset.
    again = shaky.uploader(file_stream=BytesIO(data), url=uploader.url, retries=2, retry_delay=0)
    assert again.offset <= 3 * MIB
    again.upload()
    stored(hub, "tuspy-cut", data)


def test_lost_reply(hub: RunningHub, shaky: TusClient, proxy: Proxy) -> None:
    """The chunk arrived and the client does not know: HEAD tells it to go on behind that chunk."""
    data = content(SIZE, 10)
    proxy.faults = Faults(drop_reply=3)  # of POST, PATCH, PATCH
    shaky.uploader(
        file_stream=BytesIO(data),
        chunk_size=MIB,
        metadata={"filename": "tuspy-lost"},
        retries=2,
        retry_delay=0,
    ).upload()
    assert proxy.faults.fired == ["drop_reply"]
    assert proxy.faults.bodies == 6  # each of the six chunks once
    stored(hub, "tuspy-lost", data)
