"""What the SDK shows is on the disk: the power goes right after a file has appeared."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.client.conftest import FaultyServer
from tests.support.failing_disk import DEATH, EIO, RENAME, SYNC, FailingDisk
from tests.support.hub import RunningHub, clean_environment

DATA = b"all of it" * 20_000
HEAD = "import sys; from pathlib import Path; from dsx import DatasetHubClient\n"
DOWNLOAD = """
with DatasetHubClient(sys.argv[2], sys.argv[3], cache_dir=Path(sys.argv[1]) / "cache") as client:
    client.download("shown", Path(sys.argv[1]) / "shown")
"""
ARCHIVE = """
with DatasetHubClient(sys.argv[2], sys.argv[3], cache_dir=Path(sys.argv[1]) / "cache") as client:
    client.archive(["shown"], Path(sys.argv[1]) / "shown")
"""
SEVERAL = """
with DatasetHubClient(sys.argv[2], sys.argv[3]) as client:
    client.download_files(["shown"], sys.argv[1])
"""
TASK = """
with DatasetHubClient(sys.argv[2], sys.argv[3]) as client:
    task = client.tasks.create_download([client.get_info("shown")])
    client.tasks.download(task, Path(sys.argv[1]) / "shown")
"""
DATASET = """
with DatasetHubClient(sys.argv[2], sys.argv[3], cache_dir=Path(sys.argv[1])) as client:
    client.download_dataset("ds")
"""
REPLACED = """
from dsx.client.durable import replace_durably
replace_durably(Path(sys.argv[1]) / "shown", b"all of it")
"""
JOURNAL = """
from dsx.client.upload_journal import UploadJournal
memory = UploadJournal(Path(sys.argv[1]) / "journal.json")
memory.keep("first", {})
sys.stdin.readline()
memory.keep("second", {})
"""


@pytest.fixture
def disk(tmp_path: Path) -> FailingDisk:
    return FailingDisk(tmp_path / "files", tmp_path / "kept")


def run(disk: FailingDisk, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", HEAD + code, disk.root, *arguments],
        env=clean_environment(**disk.environment),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    "code", [DOWNLOAD, ARCHIVE, SEVERAL, TASK], ids=["download", "archive", "several", "task"]
)
def test_a_downloaded_file_that_shows_is_durable(
    hub: RunningHub, disk: FailingDisk, code: str
) -> None:
    if not hub.get("/api/v1/files", params={"name": "shown"}).json()["items"]:
        hub.store("shown", DATA)
    with disk.failing(1, DEATH, kinds=RENAME) as control:
        assert run(disk, code, hub.url, hub.key).returncode == -signal.SIGKILL
        assert control.last.endswith(b"/shown")
    disk.lose_power(names=True)
    content = (disk.root / "shown").read_bytes()
    assert content == DATA if code in {DOWNLOAD, SEVERAL} else DATA in content


def test_what_a_file_is_replaced_with_is_durable(disk: FailingDisk) -> None:
    with disk.failing(1, DEATH, kinds=RENAME) as control:
        assert run(disk, REPLACED).returncode == -signal.SIGKILL
        assert control.last.endswith(b"/shown")
    disk.lose_power(names=True)
    assert (disk.root / "shown").read_bytes() == b"all of it"


def test_files_of_a_dataset_that_show_are_durable(server: FaultyServer, disk: FailingDisk) -> None:
    server.files = {f"{number}.bin": DATA[number:] for number in range(5)}
    shown = 0
    for number in range(1, 8):  # the manifest is renamed into its place, too
        with disk.failing(number, DEATH, kinds=RENAME):
            run(disk, DATASET, server.url, "key")
        disk.lose_power(names=True)
        for path in (disk.root / "ds").glob("*"):
            assert path.read_bytes() == server.files[path.name]
            shown += 1
    assert shown


def test_a_failed_sync_of_many_files_is_not_tried_again(
    server: FaultyServer, disk: FailingDisk
) -> None:
    """C1 in the SDK: syncfs failed, and the fsyncs after it were believed."""
    server.files = {f"{number}.bin": DATA[number:] for number in range(5)}
    number = last = 0
    while last == number:  # the index of the cache is synced, too
        number += 1
        with disk.failing(number, EIO, kinds=SYNC) as control:
            run(disk, DATASET, server.url, "key")
            last = number if control.failed else 0
        for path in (disk.root / "ds").glob("*"):
            assert path.read_bytes() == server.files[path.name]
        for path in disk.root.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert number > 2


def test_the_journal_of_uploads_is_old_or_new_but_whole(disk: FailingDisk) -> None:
    """Whatever the last call was before the power went."""
    number = 1
    while True:
        (disk.root / "journal.json").unlink(missing_ok=True)
        with subprocess.Popen(
            [sys.executable, "-c", HEAD + JOURNAL, disk.root],
            env=clean_environment(**disk.environment),
            stdin=subprocess.PIPE,
        ) as process:
            while not (disk.root / "journal.json").exists():
                assert process.poll() is None
            with disk.failing(number, DEATH) as control:
                assert process.stdin is not None
                process.stdin.write(b"\n")
                process.stdin.close()
                process.wait(30)
                died = control.failed
        disk.lose_power(names=True)
        found = json.loads((disk.root / "journal.json").read_bytes())
        assert found["upload"] in ({"first", "second"} if died else {"second"})
        if not died:
            break
        number += 1
    assert number > 3
