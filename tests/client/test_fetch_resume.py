"""D3: a large file of a dataset goes on in another process, never mixed with other content."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.support.corrupting import Faults, Proxy
from tests.support.faulty import FaultyServer
from tests.support.hub import RunningHub, clean_environment
from tests.support.waiting import eventually

from dsx import DatasetHubClient
from dsx.client import dataset_sync, errors, partial_download, transfer

MIB = 1 << 20
SIZE = 12 * MIB + 345
SMALL_RANGES = """
transfer.PARALLEL_FROM = transfer.RANGE = dataset_sync.PARALLEL_FROM = 1 << 20
partial_download._NOTE_SECONDS = 0
"""
PROGRAM = """
import sys
from dsx import DatasetHubClient
from dsx.client import dataset_sync, partial_download, transfer
partial_download._NOTE_SECONDS = 0
{setup}
url, key, dataset, cache, how = sys.argv[1:]
with DatasetHubClient(url, key, cache, connections=2) as client:
    if how == "get_file":
        client.get_file(dataset, "big.bin")
    else:
        client.download_dataset(dataset)
"""


@dataclass
class Dataset:
    """One of the hub with a large file, and where it is to be cached."""

    name: str
    source: Path
    cache: Path

    def drafts(self) -> list[Path]:
        directory = self.cache / ".dsx-drafts"
        return list(directory.iterdir()) if directory.is_dir() else []

    def arrived(self) -> bool:
        """Whether the file is there, and no drafts."""
        assert self.drafts() == []
        return (self.cache / self.name / "big.bin").read_bytes() == self.source.read_bytes()

    def replace(self, data: bytes) -> None:
        """Other content, of a moment that cannot be taken for the one before."""
        draft = self.source.with_name("new")
        draft.write_bytes(data)
        os.utime(draft, ns=(1, random.randrange(1 << 60)))
        draft.replace(self.source)


@pytest.fixture
def dataset(hub: RunningHub, tmp_path: Path) -> Dataset:
    name = f"d3-{uuid.uuid4().hex}"
    source = hub.dataset_path / name / "big.bin"
    source.parent.mkdir()
    source.write_bytes(random.Random(name).randbytes(SIZE))
    return Dataset(name, source, tmp_path / "cache")


@pytest.fixture
def caching(hub: RunningHub, proxy: Proxy, dataset: Dataset) -> Iterator[DatasetHubClient]:
    with DatasetHubClient(proxy.url, hub.key, dataset.cache, retries=1) as opened:
        yield opened


@pytest.fixture(params=["stream", "ranges"])
def ranges(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether files come in parallel ranges."""
    monkeypatch.setattr(partial_download, "_NOTE_SECONDS", 0)
    if request.param == "ranges":
        for module in (transfer, dataset_sync):
            monkeypatch.setattr(module, "PARALLEL_FROM", MIB)
        monkeypatch.setattr(transfer, "RANGE", MIB)
    return bool(request.param == "ranges")


def stopped(client: DatasetHubClient, dataset: Dataset, after: int = 6 * MIB) -> None:
    """A fetch that is interrupted."""

    def interrupt(done: int, _total: int | None, _name: str) -> None:
        if done > after:
            raise KeyboardInterrupt

    client._progress = interrupt
    with pytest.raises(KeyboardInterrupt):
        client.download_dataset(dataset.name)
    client._progress = None


def asked_for(proxy: Proxy) -> int:
    """Up to where from the beginning nothing was asked for: what was partial_download."""
    return min(int(asked.removeprefix("bytes=").partition("-")[0]) for asked in proxy.faults.ranges)


@pytest.mark.parametrize(
    ("number", "how"), [(signal.SIGKILL, "get_file"), (signal.SIGINT, "download_dataset")]
)
def test_d3_another_process_goes_on(
    hub: RunningHub,
    proxy: Proxy,
    caching: DatasetHubClient,
    dataset: Dataset,
    number: signal.Signals,
    ranges: bool,
    how: str,
) -> None:
    fault = "hang_after_ranges" if ranges else "hang_after_replies"
    proxy.faults = faults = Faults(**{fault: 8 * MIB})
    program = PROGRAM.format(setup=SMALL_RANGES if ranges else "")
    process = subprocess.Popen(
        [sys.executable, "-c", program, proxy.url, hub.key, dataset.name, dataset.cache, how],
        env=clean_environment(),
        stderr=subprocess.DEVNULL,
    )
    eventually(lambda: faults.fired)
    (draft,) = dataset.drafts()
    eventually(
        lambda: (
            partial_download.PartialDownload(os.open(draft, os.O_RDONLY), SIZE, '"etag"').size
            > 3 * MIB
        )
    )
    process.send_signal(number)
    if number != signal.SIGKILL:  # it ends at its next chunk
        faults.resume()
    assert process.wait(20) == -number
    proxy.faults = Faults()
    faults.resume()
    assert not (dataset.cache / dataset.name / "big.bin").exists()
    if how == "get_file":
        caching.get_file(dataset.name, "big.bin")
    else:
        caching.download_dataset(dataset.name)
    assert asked_for(proxy) >= 3 * MIB
    assert dataset.arrived()


def test_d3_three_tries_over_a_link_that_breaks_get_it(
    hub: RunningHub, proxy: Proxy, dataset: Dataset
) -> None:
    for _ in range(4):
        proxy.faults = Faults(cut_after_replies=5 * MIB)
        with DatasetHubClient(proxy.url, hub.key, dataset.cache, retries=0) as client:
            try:
                client.download_dataset(dataset.name)
                break
            except errors.Broken:
                assert len(dataset.drafts()) == 1
    assert dataset.arrived()


def test_d3_other_content_meanwhile_is_not_mixed_in(
    proxy: Proxy, caching: DatasetHubClient, dataset: Dataset, ranges: bool
) -> None:
    """Changed between two runs: it starts anew, and the old draft goes."""
    stopped(caching, dataset)
    dataset.replace(random.Random(2).randbytes(SIZE))
    proxy.faults = Faults()
    eventually(lambda: caching.download_dataset(dataset.name) and dataset.arrived())
    assert ranges or not proxy.faults.ranges
    assert proxy.faults.replied > SIZE


@pytest.mark.parametrize("size", [SIZE, SIZE // 2, 100])
def test_d3_changed_after_the_client_had_asked(
    monkeypatch: pytest.MonkeyPatch,
    caching: DatasetHubClient,
    dataset: Dataset,
    ranges: bool,
    size: int,
) -> None:
    """The look says it is the same; when the rest is asked for, it is another one."""
    stopped(caching, dataset)
    from dsx.client import fetching  # noqa: PLC0415

    answer = fetching._first_answer

    def asked(*given: object, **more: object) -> object:
        head = answer(*given, **more)  # type: ignore[arg-type]
        dataset.replace(random.Random(3).randbytes(size))
        return head

    monkeypatch.setattr(fetching, "_first_answer", asked)
    caching.get_file(dataset.name, "big.bin")
    assert dataset.arrived()


def test_d3_a_draft_that_nobody_will_use_goes(
    hub: RunningHub, caching: DatasetHubClient, dataset: Dataset
) -> None:
    """Its file is no more in the dataset, or was fetched by somebody else."""
    stopped(caching, dataset)
    (draft,) = dataset.drafts()
    copy = draft.read_bytes()
    caching.download_dataset(dataset.name)
    draft.write_bytes(copy)
    caching.download_dataset(dataset.name)
    assert dataset.arrived()
    draft.write_bytes(copy)
    dataset.source.unlink()
    eventually(lambda: caching.download_dataset(dataset.name) == [])
    assert dataset.drafts() == []


@pytest.mark.usefixtures("ranges")
@pytest.mark.parametrize("spoilt", ["beginning", "longer", "whole", "mark", "short"])
def test_d3_a_draft_that_was_changed_does_no_harm(
    server: FaultyServer, client: DatasetHubClient, cache: Path, spoilt: str
) -> None:
    server.files["big.bin"] = data = random.Random(5).randbytes(SIZE)
    stopped(client, Dataset("ds", cache, cache))
    (draft,) = (cache / ".dsx-drafts").iterdir()
    with draft.open("r+b") as file:
        if spoilt == "beginning":
            file.write(b"another")
        elif spoilt == "longer":
            file.truncate(2 * SIZE)
        elif spoilt == "whole":
            file.truncate(SIZE)
        elif spoilt == "mark":
            file.seek(SIZE)
            file.write(b"\xff" * 8)
        else:
            file.truncate(3 * MIB)
    (place,) = client.download_dataset("ds")
    assert place.read_bytes() == data
    assert list((cache / ".dsx-drafts").iterdir()) == []


def test_d3_several_at_once(caching: DatasetHubClient, dataset: Dataset) -> None:
    stopped(caching, dataset)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: caching.get_file(dataset.name, "big.bin"), range(4)))
    assert dataset.arrived()


def test_d3_without_a_digest_only_what_is_durable_counts(
    server: FaultyServer, client: DatasetHubClient, cache: Path
) -> None:
    """What was not noted may be zeros after a power loss, and nobody could tell."""
    server.files["big.bin"] = data = random.Random(4).randbytes(3 * MIB)
    server.faults.digests = server.faults.hashed = False
    server.faults.drops, server.faults.drop_after = 99, MIB // 2
    with (
        DatasetHubClient(server.url, "key", cache, retries=0) as hasty,
        pytest.raises(errors.Broken),
    ):
        hasty.get_file("ds", "big.bin")
    (draft,) = (cache / ".dsx-drafts").iterdir()
    with draft.open("r+b") as file:
        file.truncate(MIB // 2)
        file.write(bytes(100))
    server.faults.drops = 0
    assert client.get_file("ds", "big.bin").read_bytes() == data


def test_d3_small_files_that_have_come_survive_a_kill(
    server: FaultyServer, client: DatasetHubClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pack is put into the cache while it comes, not at its end."""
    server.files |= {f"{number}": b"small" for number in range(9)}
    monkeypatch.setattr(dataset_sync, "_KEEP_SECONDS", 0)
    seen: list[int] = []
    keep = dataset_sync.DatasetSync._keep
    monkeypatch.setattr(
        dataset_sync.DatasetSync,
        "_keep",
        lambda self, stream: (seen.append(len(stream.drafts)), keep(self, stream))[1],
    )
    client.download_dataset("ds")
    assert seen == [1] * 9 + [0]
