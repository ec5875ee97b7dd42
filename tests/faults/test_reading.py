"""Stored bytes that cannot be read, or are too few: told as what they are, never as a defect."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from tests.support.failing_disk import EIO, READ, FailingDisk
from tests.support.hub import RunningHub, start_hub

from dsx.core.digest import digest_of

SMALL, LARGE = b"small" * 100, os.urandom(2_000_000)


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> FailingDisk:
    directory = tmp_path_factory.mktemp("reading")
    return FailingDisk(directory / "data", directory / "kept")


@pytest.fixture(scope="module")
def hub(disk: FailingDisk) -> Iterator[RunningHub]:
    hub = start_hub(disk.root.parent, **disk.environment)
    yield hub
    assert hub.stop() == 0
    log = hub.log.read_text()
    assert "unforeseen" not in log
    assert "Traceback" not in log


def archive(hub: RunningHub, record: dict[str, Any]) -> requests.Response:
    other = hub.store("other", b"other")
    return hub.get("/api/v1/archive", params={"id": [other["id"], record["id"]]})


def plain(hub: RunningHub, record: dict[str, Any]) -> requests.Response:
    return hub.get(record["url"])


def ranged(hub: RunningHub, record: dict[str, Any]) -> requests.Response:
    return hub.get(record["url"], headers={"Range": "bytes=1-10,20-30"})


@pytest.mark.parametrize("ask", [plain, ranged, archive])
def test_a_small_file_that_cannot_be_read(
    hub: RunningHub, disk: FailingDisk, ask: Callable[..., requests.Response]
) -> None:
    record = hub.store(f"unreadable-{ask.__name__}", SMALL)
    with disk.failing(1, EIO, kinds=READ, repeat=100) as control:
        answer = ask(hub, record)
        assert control.failed
    assert (answer.status_code, answer.json()["code"]) == (503, "storage_failed")
    assert "Retry-After" in answer.headers
    assert ask(hub, record).ok


def test_a_large_file_that_cannot_be_read_is_cut_off(hub: RunningHub, disk: FailingDisk) -> None:
    """The head is out: the client sees that it did not get all."""
    record = hub.store("unreadable-large", LARGE)
    with disk.failing(1, EIO, kinds=READ, repeat=100) as control:
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            plain(hub, record)
        assert control.failed
    assert plain(hub, record).content == LARGE


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("ask", [plain, ranged])
def test_a_truncated_file_is_damaged(
    hub: RunningHub, data: bytes, ask: Callable[..., requests.Response]
) -> None:
    data += ask.__name__.encode()
    record = hub.store(f"truncated-{len(data)}", data)
    blob = hub.data_dir / "blobs" / digest_of(data)[:2] / digest_of(data)
    blob.chmod(0o600)
    os.truncate(blob, len(data) - 7)
    answer = ask(hub, record)
    assert (answer.status_code, answer.json()["code"]) == (410, "damaged")
    assert hub.store(f"truncated-{len(data)}", data)["sha256"] == digest_of(data)
    assert plain(hub, record).content == data


def test_a_dataset_file_that_cannot_be_read(tmp_path: Path) -> None:
    disk = FailingDisk(tmp_path / "datasets", tmp_path / "kept")
    (disk.root / "ds").mkdir()
    (disk.root / "ds" / "a.bin").write_bytes(SMALL)
    hub = start_hub(tmp_path, **disk.environment)
    try:
        with disk.failing(1, EIO, kinds=READ, repeat=100) as control:
            answer = hub.get("/api/v1/datasets/ds/files/a.bin")
            assert control.failed
        assert (answer.status_code, answer.json()["code"]) == (503, "storage_failed")
        assert hub.get("/api/v1/datasets/ds/files/a.bin").content == SMALL
    finally:
        assert hub.stop() == 0
    assert "unforeseen" not in hub.log.read_text()
