"""tus-js-client 4.3.1 in Node.js against a hub."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest
from tests.clients.scripts import run
from tests.clients.stored import MIB, content, records, stored, upload_id
from tests.support.corrupting import Faults, Proxy
from tests.support.hub import RunningHub

SIZE = 5 * MIB + 1


class Client:
    """tus-js-client with one file of its own to upload."""

    def __init__(self, directory: Path, hub: RunningHub, name: str) -> None:
        self.name = f"tus-js-{name}"
        self.data = content(SIZE, len(name) * 256 + ord(name[0]))
        self.path = directory / self.name
        self.path.write_bytes(self.data)
        self.urls = directory / "urls.json"
        self.hub = hub

    def upload(self, url: str | None = None, **job: Any) -> dict[str, Any]:
        """Upload to the hub or *url*; options that the client itself takes are in `options`."""
        metadata = {"filename": self.name, "filetype": "image/png", "project": "zebra — Ω"}
        options = {"metadata": metadata} | job.pop("options", {})
        endpoint = f"{url or self.hub.url}/uploads"
        return run(
            "upload.mjs", endpoint=endpoint, key=self.hub.key, path=str(self.path),
            options=options, **job,
        )  # fmt: skip

    def assert_stored(self) -> None:
        record = stored(self.hub, self.name, self.data)
        assert record["content_type"] == "image/png"
        assert record["metadata"] == {"project": "zebra — Ω"}


@pytest.fixture
def client(request: pytest.FixtureRequest, hub: RunningHub, tmp_path: Path) -> Client:
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_"))
    return Client(tmp_path, hub, name.strip("-"))


def test_one_request(client: Client) -> None:
    result = client.upload()
    assert result["outcome"] == "success", result
    assert result["requests"] == [["POST", 201], ["PATCH", 204]]
    client.assert_stored()


def test_chunks(client: Client) -> None:
    result = client.upload(options={"chunkSize": MIB})
    assert result["outcome"] == "success", result
    assert result["requests"] == [["POST", 201]] + [["PATCH", 204]] * 6
    client.assert_stored()


def test_data_with_the_creation(client: Client) -> None:
    result = client.upload(options={"chunkSize": 3 * MIB, "uploadDataDuringCreation": True})
    assert result["outcome"] == "success", result
    assert result["requests"] == [["POST", 201], ["PATCH", 204]]
    client.assert_stored()


def test_length_told_last(client: Client) -> None:
    result = client.upload(
        options={"chunkSize": 2 * MIB, "uploadLengthDeferred": True}, source="stream"
    )
    assert result["outcome"] == "success", result
    client.assert_stored()


def test_patch_as_post(client: Client) -> None:
    """For networks that let nothing but GET and POST through."""
    result = client.upload(options={"overridePatchMethod": True, "chunkSize": 3 * MIB})
    assert result["outcome"] == "success", result
    assert {method for method, _ in result["requests"]} == {"POST"}
    client.assert_stored()


def test_without_metadata(client: Client) -> None:
    result = client.upload(options={"metadata": {}})
    assert result["outcome"] == "success", result
    record = stored(client.hub, upload_id(result["url"]), client.data)
    assert record["metadata"] == {}


def test_parallel(client: Client) -> None:
    result = client.upload(options={"parallelUploads": 8})
    assert result["outcome"] == "success", result
    assert sorted(result["requests"]) == [["PATCH", 204]] * 8 + [["POST", 201]] * 9
    client.assert_stored()


def test_parallel_with_chunks_and_a_cut(client: Client, proxy: Proxy) -> None:
    proxy.faults = Faults(cut_after=2 * MIB)
    result = client.upload(proxy.url, options={"parallelUploads": 8, "chunkSize": MIB // 4})
    assert result["outcome"] == "success", result
    assert proxy.faults.fired == ["cut_after"]
    client.assert_stored()


def test_checksums(client: Client) -> None:
    result = client.upload(options={"chunkSize": MIB}, checksum=True)
    assert result["outcome"] == "success", result
    client.assert_stored()


def test_corrupted_chunk_is_refused(client: Client, proxy: Proxy) -> None:
    """The client takes a 460 as final unless told otherwise."""
    proxy.faults = Faults(flip_body=3)
    result = client.upload(proxy.url, options={"chunkSize": MIB}, checksum=True)
    assert (result["outcome"], result["status"]) == ("error", 460), result
    assert proxy.faults.fired == ["flip_body"]
    assert records(client.hub, client.name) == []


def test_corrupted_chunk_is_sent_again(client: Client, proxy: Proxy) -> None:
    proxy.faults = Faults(flip_body=3)
    result = client.upload(
        proxy.url, options={"chunkSize": MIB}, checksum=True, onShouldRetry=[460]
    )
    assert result["outcome"] == "success", result
    assert proxy.faults.fired == ["flip_body"]
    assert result["offsets"] == [str(2 * MIB)]  # what HEAD says: nothing of the third was kept
    client.assert_stored()


def test_cut_within_a_chunk(client: Client, proxy: Proxy) -> None:
    proxy.faults = Faults(cut_after=3 * MIB)
    result = client.upload(proxy.url)
    assert result["outcome"] == "success", result
    assert proxy.faults.fired == ["cut_after"]
    client.assert_stored()


def test_lost_reply(client: Client, proxy: Proxy) -> None:
    proxy.faults = Faults(drop_reply=3)
    result = client.upload(proxy.url, options={"chunkSize": MIB})
    assert result["outcome"] == "success", result
    assert proxy.faults.fired == ["drop_reply"]
    assert result["offsets"] == [str(2 * MIB)]  # the chunk whose reply was lost is there
    client.assert_stored()


@pytest.mark.parametrize("protocol", ["tus-v1", "ietf-draft-05"])
def test_abort_and_resume(client: Client, protocol: str) -> None:
    """A second program takes up what the first one left, by the URL it kept in a file."""
    job = {
        "options": {"chunkSize": MIB, "protocol": protocol},
        "source": "buffer",  # of a file in pieces it never says, by the draft, that it is complete
        "urls": str(client.urls),
    }
    first = client.upload(abortAfter=2 * MIB, **job)
    assert first["outcome"] == "aborted", first
    assert records(client.hub, client.name) == []
    second = client.upload(resume=True, **job)
    assert second["outcome"] == "success", second
    assert (second["found"], second["url"]) == (1, first["url"])
    assert int(second["offsets"][0]) >= MIB
    client.assert_stored()


def test_resume_beside_a_dead_connection(client: Client, proxy: Proxy) -> None:
    """The client is gone, its request still hangs at the hub: the next one need not wait for it.

    Nor does what the first request sends after all get into the file.
    """
    proxy.faults = Faults(hang_after=2 * MIB)
    first = client.upload(proxy.url, abortSeconds=1)
    assert (first["outcome"], proxy.faults.fired) == ("aborted", ["hang_after"]), first
    url = f"{client.hub.url}/uploads/{upload_id(first['url'])}"
    delays = [0, 1000, 3000, 5000]  # the client's own
    second = client.upload(options={"uploadUrl": url, "retryDelays": delays})
    assert (second["outcome"], second["url"]) == ("success", url), second
    proxy.faults.resume()
    time.sleep(0.2)
    client.assert_stored()


def test_abort_and_delete(client: Client) -> None:
    result = client.upload(options={"chunkSize": MIB}, abortAfter=2 * MIB, terminate=True)
    assert result["outcome"] == "aborted", result
    path = result["url"].removeprefix(client.hub.url)
    answer = client.hub.request("HEAD", path, headers={"Tus-Resumable": "1.0.0"})
    assert answer.status_code in {404, 410}
    assert records(client.hub, client.name) == []


def test_ietf_draft(client: Client) -> None:
    """The same client speaks interop version 6 of the IETF's draft to the same endpoint."""
    result = client.upload(options={"protocol": "ietf-draft-05"})
    assert result["outcome"] == "success", result
    client.assert_stored()
