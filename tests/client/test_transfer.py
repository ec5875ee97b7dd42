"""Downloads over connections that break, servers that lie, and servers without ranges."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
import requests
from tests.support import faulty
from tests.support.faulty import FaultyServer

from dsx import DatasetHubClient, DSXError
from dsx.client import errors, transfer
from dsx.client.http import Connection
from dsx.client.transfer import Remote, fetch_stream
from dsx.core.ranges import ByteRange, parse_range

DATA = bytes(range(256)) * 4096  # 1 MiB


@pytest.fixture
def whole(server: FaultyServer) -> FaultyServer:
    server.files["a.bin"] = DATA
    return server


def test_goes_on_where_the_connection_broke(whole: FaultyServer, client: DatasetHubClient) -> None:
    whole.faults.drops, whole.faults.drop_after = 3, 200_000
    assert client.get_file("ds", "a.bin").read_bytes() == DATA
    asked = whole.asked("a.bin")
    assert [headers.get("Range") for headers in asked] == [
        None,
        "bytes=200000-",
        "bytes=400000-",
        "bytes=600000-",
    ]
    assert {headers.get("If-Range") for headers in asked[1:]} == {f'"{whole.etag("a.bin")}"'}


def test_another_range_than_the_one_asked_for_is_not_taken(
    whole: FaultyServer, client: DatasetHubClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def shifted(wanted: str, size: int) -> list[ByteRange]:
        (part,) = parse_range(wanted, size) or ()
        return [ByteRange(part.start + 1, part.stop)]

    monkeypatch.setattr(faulty, "parse_range", shifted)
    whole.faults.digests = whole.faults.hashed = False
    whole.faults.drops, whole.faults.drop_after = 1, 200_000
    assert client.get_file_bytes("ds", "a.bin") == DATA
    assert [headers.get("Range") for headers in whole.asked("a.bin")] == [
        None,
        "bytes=200000-",
        None,
    ]


def test_progress_makes_breaks_forgiven(whole: FaultyServer, client: DatasetHubClient) -> None:
    """More breaks than retries are no failure as long as each brought something."""
    whole.faults.drops, whole.faults.drop_after = 10, 50_000
    assert client.get_file_bytes("ds", "a.bin") == DATA
    assert len(whole.requests) == 11


@pytest.mark.parametrize("to_disk", [True, False])
def test_starts_over_without_ranges(
    whole: FaultyServer, client: DatasetHubClient, to_disk: bool
) -> None:
    whole.faults.ranges = False
    whole.faults.drops, whole.faults.drop_after = 2, 300_000
    if to_disk:
        assert client.get_file("ds", "a.bin").read_bytes() == DATA
    else:
        assert client.get_file_bytes("ds", "a.bin") == DATA


def test_gives_up_when_starting_over_leads_nowhere(
    whole: FaultyServer, client: DatasetHubClient
) -> None:
    whole.faults.ranges = False
    whole.faults.drops, whole.faults.drop_after = 20, 300_000
    with pytest.raises(errors.Broken) as caught:
        client.get_file_bytes("ds", "a.bin")
    assert isinstance(caught.value, requests.exceptions.ChunkedEncodingError)
    assert isinstance(caught.value, DSXError)
    assert len(whole.requests) == 4


@pytest.mark.parametrize("replacement", [b"short", b"", DATA * 2])
@pytest.mark.parametrize("to_disk", [True, False])
def test_takes_the_new_content_when_it_changes_during_a_break(
    whole: FaultyServer, client: DatasetHubClient, replacement: bytes, to_disk: bool
) -> None:
    """Nothing of the old content may stay behind the new one's end."""
    whole.faults.drops, whole.faults.drop_after = 1, 300_000
    whole.faults.change_on_drop = replacement
    if to_disk:
        assert client.get_file("ds", "a.bin").read_bytes() == replacement
    else:
        assert client.get_file_bytes("ds", "a.bin") == replacement


def test_a_corrupted_transfer_is_repeated(whole: FaultyServer, client: DatasetHubClient) -> None:
    whole.faults.corruptions = 1
    assert client.get_file("ds", "a.bin").read_bytes() == DATA
    whole.faults.corruptions = 1
    assert client.get_file_bytes("ds", "a.bin") == DATA


@pytest.mark.parametrize("announced", [True, False])
def test_bytes_wrong_twice_are_refused(
    whole: FaultyServer, client: DatasetHubClient, cache: Path, announced: bool
) -> None:
    """By Repr-Digest if there is one, else by the manifest's sha256."""
    whole.faults.corruptions, whole.faults.digests = 1000, announced
    with pytest.raises(errors.DigestMismatch, match=r"a\.bin") as caught:
        client.download_dataset("ds")
    assert isinstance(caught.value, requests.HTTPError)
    assert [path for path in cache.rglob("*.bin") if path.is_file()] == []
    assert list((cache / ".dsx-drafts").iterdir()) == []


@pytest.mark.parametrize("drops", [0, 5])
def test_large_files_come_in_parallel_ranges(
    whole: FaultyServer, client: DatasetHubClient, monkeypatch: pytest.MonkeyPatch, drops: int
) -> None:
    monkeypatch.setattr(transfer, "PARALLEL_FROM", 1000)
    monkeypatch.setattr(transfer, "RANGE", 100_000)
    whole.faults.drops, whole.faults.drop_after = drops, 60_000
    seen: list[int] = []
    client._progress = lambda done, total, name: seen.append(done)
    assert client.get_file("ds", "a.bin").read_bytes() == DATA
    ranges = [headers.get("Range") for headers in whole.asked("a.bin")]
    assert len([wanted for wanted in ranges if wanted]) >= 11
    assert seen[-1] == len(DATA)
    assert seen == sorted(seen)


def test_a_large_file_that_keeps_changing_is_refused(
    whole: FaultyServer, client: DatasetHubClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "PARALLEL_FROM", 1000)
    monkeypatch.setattr(transfer, "RANGE", 100_000)
    monkeypatch.setattr(FaultyServer, "etag", lambda *_: os.urandom(8).hex())
    with pytest.raises(errors.Conflict, match="changed"):
        client.get_file("ds", "a.bin")


def test_a_stream_is_resumed_but_never_begun_again(whole: FaultyServer) -> None:
    connection = Connection(whole.url, "key", timeout=(5, 5), retries=3, pool=2)
    remote = Remote(connection, "/api/v1/datasets/ds/files/a.bin", "a.bin")
    whole.faults.drops, whole.faults.drop_after = 2, 300_000
    output = io.BytesIO()
    fetch_stream(remote, output.write, None)
    assert output.getvalue() == DATA
    whole.faults.drops, whole.faults.ranges = 1, False
    with pytest.raises(errors.Conflict, match="could not be resumed"):
        fetch_stream(remote, io.BytesIO().write, None)
    whole.faults.corruptions = 2  # the answer that was given up may take one
    with pytest.raises(errors.DigestMismatch):
        fetch_stream(remote, io.BytesIO().write, None)


def test_a_progress_that_raises_ends_the_download(
    whole: FaultyServer, client: DatasetHubClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interrupt in one thread stops the other ranges too."""
    monkeypatch.setattr(transfer, "PARALLEL_FROM", 1000)
    monkeypatch.setattr(transfer, "RANGE", 1000)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    client._progress = interrupt
    with pytest.raises(KeyboardInterrupt):
        client.get_file("ds", "a.bin")
    assert len(whole.requests) < 100


def test_slow_servers_time_out(server: FaultyServer) -> None:
    import socket  # noqa: PLC0415

    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"http://127.0.0.1:{mute.getsockname()[1]}"
        client = DatasetHubClient(url, "key", None, timeout=(1, 0.05), retries=1)
        with pytest.raises(requests.Timeout, match="in time") as caught:
            client.list_datasets()
    assert isinstance(caught.value, TimeoutError)
    assert isinstance(caught.value, DSXError)
