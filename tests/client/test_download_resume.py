"""Downloads that another process goes on with: kills, other content meanwhile, bad targets."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import uuid
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from tests.support.corrupting import Faults, Proxy
from tests.support.digests import sha256
from tests.support.hub import RunningHub, clean_environment
from tests.support.waiting import eventually

from dsx import DatasetHubClient
from dsx.client import errors, partial_download, transfer
from dsx.client.partial_download import PartialDownload

MIB = 1 << 20
SIZE = 12 * MIB + 345
SMALL_RANGES = (
    "transfer.PARALLEL_FROM, transfer.RANGE, partial_download._NOTE_SECONDS = 1 << 20, 1 << 20, 0"
)
PROGRAM = """
import sys
from dsx import DatasetHubClient
from dsx.client import partial_download, transfer
{setup}
url, key, ref, target = sys.argv[1:]
with DatasetHubClient(url, key, None, connections=2) as client:
    {call}(ref, target)
"""


@dataclass
class Wanted:
    """A stored file, and where it is to go."""

    ref: str
    data: bytes
    place: Path

    def arrived(self) -> bool:
        """Whether it is there, and nothing else beside it."""
        assert [path.name for path in self.place.parent.iterdir()] == [self.place.name]
        return sha256(self.place.read_bytes()) == sha256(self.data)

    def drafts(self) -> list[Path]:
        return [path for path in self.place.parent.iterdir() if path.name.endswith(".part")]


@pytest.fixture
def wanted(real: DatasetHubClient, tmp_path: Path) -> Wanted:
    place = tmp_path / "out" / f"{uuid.uuid4().hex}.bin"
    place.parent.mkdir()
    data = random.Random(place.name).randbytes(SIZE)
    real.upload(data, place.name)
    return Wanted(place.name, data, place)


@pytest.fixture(params=["stream", "ranges"])
def ranges(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether files come in parallel ranges."""
    if request.param == "ranges":
        monkeypatch.setattr(transfer, "PARALLEL_FROM", MIB)
        monkeypatch.setattr(transfer, "RANGE", MIB)
        monkeypatch.setattr(partial_download, "_NOTE_SECONDS", 0)
    return bool(request.param == "ranges")


def stopped_process(
    hub: RunningHub,
    proxy: Proxy,
    wanted: Wanted,
    number: int,
    *,
    ranges: bool = False,
    call: str = "client.download",
) -> int:
    """A process that got a good half, and then the signal *number*; its exit code."""
    # Of an answer that ranges follow, much may come before it is closed: that does not count.
    fault = "hang_after_ranges" if ranges else "hang_after_replies"
    proxy.faults = faults = Faults(**{fault: 8 * MIB})
    program = PROGRAM.format(setup=SMALL_RANGES if ranges else "", call=call)
    process = subprocess.Popen(
        [sys.executable, "-c", program, proxy.url, hub.key, wanted.ref, str(wanted.place)],
        env=clean_environment(),
        stderr=subprocess.DEVNULL,
    )
    eventually(lambda: faults.fired)
    (draft,) = wanted.drafts()
    eventually(lambda: draft.stat().st_blocks * 512 > 5 * MIB)
    process.send_signal(number)
    if number != signal.SIGKILL:  # it ends at its next chunk
        faults.resume()
    code = process.wait(20)
    proxy.faults = Faults()
    faults.resume()
    return code


def stopped(client: DatasetHubClient, wanted: Wanted, after: int = 6 * MIB) -> None:
    """The same in this process, which is quicker."""

    def interrupt(done: int, _total: int | None, _name: str) -> None:
        if done > after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        client.download(wanted.ref, wanted.place, progress=interrupt)


def asked_for(proxy: Proxy) -> int:
    """Up to where from the beginning nothing was asked for: what was partial_download."""
    return min(int(asked.removeprefix("bytes=").partition("-")[0]) for asked in proxy.faults.ranges)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_another_process_goes_on(
    hub: RunningHub,
    proxy: Proxy,
    through: DatasetHubClient,
    wanted: Wanted,
    number: signal.Signals,
    ranges: bool,
) -> None:
    assert stopped_process(hub, proxy, wanted, number, ranges=ranges) == -number
    assert not wanted.place.exists()
    assert through.download(wanted.ref, wanted.place) == wanted.place
    assert asked_for(proxy) >= 2 * MIB
    assert wanted.arrived()


def test_other_content_meanwhile_is_not_mixed_in(
    real: DatasetHubClient, proxy: Proxy, through: DatasetHubClient, wanted: Wanted, ranges: bool
) -> None:
    stopped(through, wanted)
    wanted.data = random.Random(2).randbytes(SIZE)
    real.upload(wanted.data, wanted.ref)
    proxy.faults = Faults()
    through.download(wanted.ref, wanted.place)
    assert ranges or not proxy.faults.ranges
    assert proxy.faults.replied > SIZE
    assert wanted.arrived()


@pytest.mark.usefixtures("ranges")
@pytest.mark.parametrize("spoilt", ["beginning", "longer", "all but", "mark", "empty"])
def test_a_draft_that_was_changed_does_no_harm(
    through: DatasetHubClient, wanted: Wanted, spoilt: str
) -> None:
    stopped(through, wanted)
    (draft,) = wanted.drafts()
    with draft.open("r+b") as file:
        if spoilt == "beginning":
            file.write(b"another")
        elif spoilt == "longer":
            file.truncate(2 * SIZE)
        elif spoilt == "all but":
            file.truncate(SIZE)
        elif spoilt == "mark":
            file.truncate(SIZE)
            file.seek(SIZE)
            file.write(b"\xff" * 8)
        else:
            file.truncate(0)
    seen: list[int] = []
    through.download(wanted.ref, wanted.place, progress=lambda done, *_: seen.append(done))
    assert seen[-1] == SIZE
    assert wanted.arrived()


def test_all_was_there_but_the_name(
    proxy: Proxy, through: DatasetHubClient, wanted: Wanted
) -> None:
    """Killed before the draft could be moved: it is verified, and nothing is asked for."""
    stopped(through, wanted)
    (draft,) = wanted.drafts()
    draft.write_bytes(wanted.data)
    proxy.faults = Faults()
    through.download(wanted.ref, wanted.place)
    assert proxy.faults.replied < MIB
    assert wanted.arrived()


def test_a_file_that_is_deleted_meanwhile(
    real: DatasetHubClient, through: DatasetHubClient, wanted: Wanted
) -> None:
    """It can be restored, so what has come is not thrown away."""
    stopped(through, wanted)
    info = real.get_info(wanted.ref)
    real.delete(info)
    with pytest.raises(errors.NotFound):
        through.download(wanted.ref, wanted.place)
    real.restore(info)
    through.download(wanted.ref, wanted.place)
    assert wanted.arrived()


@pytest.mark.usefixtures("ranges")
def test_a_connection_that_breaks_for_good_leaves_the_draft(
    hub: RunningHub, proxy: Proxy, through: DatasetHubClient, wanted: Wanted
) -> None:
    proxy.faults = Faults(cut_after_replies=8 * MIB)
    with (
        DatasetHubClient(proxy.url, hub.key, None, retries=0, connections=2) as hasty,
        pytest.raises(errors.Broken),
    ):
        hasty.download(wanted.ref, wanted.place)
    proxy.faults = Faults()
    through.download(wanted.ref, wanted.place)
    assert asked_for(proxy) >= 2 * MIB
    assert wanted.arrived()


def test_two_at_once_for_one_target(through: DatasetHubClient, wanted: Wanted) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: through.download(wanted.ref, wanted.place), range(4)))
    assert wanted.arrived()


@pytest.mark.parametrize("how", ["no directory", "a file above", "full"])
def test_targets_that_cannot_be_written(
    real: DatasetHubClient, wanted: Wanted, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system's own failure, and what was there before stays."""
    place = wanted.place
    if how == "no directory":
        place = place / "none" / "a.bin"
    elif how == "a file above":
        place.write_bytes(b"before")
        place /= "a.bin"
    else:
        place.write_bytes(b"before")

        def full(*_: object) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(transfer, "write_at", full)
    with pytest.raises(OSError, match=r"No (such file|space)|Not a directory"):
        real.download(wanted.ref, place)
    assert wanted.drafts() == []
    assert how == "no directory" or wanted.place.read_bytes() == b"before"


def test_names_as_long_as_the_file_system_takes(real: DatasetHubClient, wanted: Wanted) -> None:
    wanted.place = wanted.place.with_name("ü" * 127)
    stopped(real, wanted)
    real.download(wanted.ref, wanted.place)
    assert wanted.arrived()


def test_how_much_is_kept(tmp_path: Path) -> None:
    with (tmp_path / "draft").open("w+b") as file:
        assert PartialDownload(file.fileno(), 100).size == 0
        os.truncate(file.fileno(), 40)
        draft = PartialDownload(file.fileno(), 100)
        assert draft.size == 40
        draft.note(60, 100)  # not yet time
        assert PartialDownload(file.fileno(), 100).size == 40
        draft.note(60, 100, now=True)
        assert PartialDownload(file.fileno(), 100).size == 60
        draft.note(101, 100, now=True)
        assert PartialDownload(file.fileno(), 100).size == 0


def test_the_zip_of_a_task_resumes_by_range(
    real: DatasetHubClient, through: DatasetHubClient, proxy: Proxy, wanted: Wanted
) -> None:
    """It is the same archive as in one go."""
    task = real.tasks.create_download([real.get_info(wanted.ref)], name="one")
    proxy.faults = Faults(cut_after_replies=7 * MIB)
    through.tasks.download(task, wanted.place)
    assert 5 * MIB < asked_for(proxy) < 8 * MIB
    with zipfile.ZipFile(wanted.place) as archive:
        assert archive.read(wanted.ref) == wanted.data
    assert wanted.drafts() == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_the_zip_of_a_task_resumes_in_another_process(
    hub: RunningHub,
    proxy: Proxy,
    real: DatasetHubClient,
    through: DatasetHubClient,
    wanted: Wanted,
    number: int,
) -> None:
    task = real.tasks.create_download([real.get_info(wanted.ref)])
    stopped_process(hub, proxy, replace(wanted, ref=task.id), number, call="client.tasks.download")
    assert through.tasks.download(task, wanted.place) == wanted.place
    assert len(proxy.faults.ranges) == 1
    assert wanted.drafts() == []
    with zipfile.ZipFile(wanted.place) as archive:
        assert archive.read(wanted.ref) == wanted.data
