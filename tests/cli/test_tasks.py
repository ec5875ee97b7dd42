"""``dsx tasks``: what one process transfers, controlled by another."""

from __future__ import annotations

import json
import random
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.commands import Commands, ended, lines
from tests.support.corrupting import Faults, Proxy, corrupting_proxy
from tests.support.hub import RunningHub, running_hub
from tests.support.waiting import eventually

from dsx import DatasetHubClient
from dsx.client.models import TaskInfo
from dsx.core.digest import digest_of

MIB = 1 << 20
LARGE = 40 * MIB
"""Sent in three parts."""


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    """A hub that closes paused requests soon."""
    with running_hub(tmp_path_factory.mktemp("brisk"), DSX_PAUSE_GRACE="0.3") as running:
        yield running


@pytest.fixture
def client(hub: RunningHub) -> Iterator[DatasetHubClient]:
    with DatasetHubClient(hub.url, hub.key, None) as opened:
        yield opened


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / f"{uuid.uuid4().hex}.bin"
    path.write_bytes(random.Random(path.name).randbytes(LARGE))
    return path


@pytest.fixture
def download(client: DatasetHubClient) -> TaskInfo:
    """A task that has not begun."""
    info = client.upload(b"x", f"tasks/{uuid.uuid4().hex}")
    return client.tasks.create_download([info], name=f"of {info.name}")


class Sending:
    """`dsx upload` of a file, held in the middle until it is let go on."""

    def __init__(self, through: Commands, proxy: Proxy, client: DatasetHubClient, path: Path):
        proxy.faults = self._faults = Faults(hang_after=25 * MIB)
        self._proxy = proxy
        self.process = through.start("upload", path.name, "--json")
        eventually(lambda: self._faults.fired)
        (task,) = (task for task in client.tasks.list() if task.name == path.name)
        self.id = task.id

    def let_go(self) -> None:
        self._proxy.faults = Faults()
        self._faults.resume()


@pytest.fixture
def sending(
    through: Commands, proxy: Proxy, client: DatasetHubClient, large: Path
) -> Iterator[Sending]:
    started = Sending(through, proxy, client, large)
    yield started
    if started.process.poll() is None:
        started.process.kill()
        started.let_go()
        started.process.communicate()


def test_pause_and_resume_of_what_another_process_sends(
    dsx: Commands, client: DatasetHubClient, proxy: Proxy, large: Path, sending: Sending
) -> None:
    (paused,) = lines(dsx("tasks", "pause", sending.id, "--json"))
    assert (paused["id"], paused["kind"], paused["state"]) == (sending.id, "upload", "paused")
    sending.let_go()
    assert sending.process.stderr is not None
    told = sending.process.stderr.readline().decode()
    assert told == f"dsx: {large.name} is paused; to continue: dsx tasks resume {sending.id}\n"
    assert sending.process.poll() is None
    assert client.tasks.get(sending.id).done < LARGE
    command = told.partition("dsx tasks ")[2].split()
    assert sending.id in dsx("tasks", *command).stdout.decode()
    done = ended(sending.process)
    assert done.stderr.decode() == f"dsx: {large.name} resumed\n"
    (info,) = lines(done)
    assert info["sha256"] == digest_of(large.read_bytes())
    assert proxy.faults.sent < LARGE


def test_abort_of_what_another_process_sends(
    dsx: Commands, client: DatasetHubClient, large: Path, sending: Sending
) -> None:
    done = dsx("tasks", "abort", sending.id).stdout.decode()
    assert f"{sending.id}  upload  aborted" in done
    sending.let_go()
    assert b"aborted" in ended(sending.process, 3).stderr
    assert list(client.list_files(large.name)) == []
    assert not [path for path in dsx.state.rglob("*") if path.is_file()]
    dsx("tasks", "abort", sending.id)
    (info,) = lines(dsx("upload", large.name, "--json"))
    assert info["version"] == 1


def test_a_killed_upload_that_is_paused_goes_on_after_both(
    dsx: Commands, through: Commands, large: Path, sending: Sending, proxy: Proxy
) -> None:
    """A second process waits for the resume; nothing of the first one is lost."""
    sending.process.kill()
    sending.process.communicate()
    proxy.cut()  # what it holds may be all the rest, and nothing would be left to pause
    sending.let_go()
    dsx("tasks", "pause", sending.id)
    process = through.start("upload", large.name, "--json")
    assert process.stderr is not None
    assert sending.id in process.stderr.readline().decode()
    dsx("tasks", "resume", sending.id)
    (info,) = lines(ended(process))
    assert info["sha256"] == digest_of(large.read_bytes())


def test_a_paused_upload_can_be_interrupted(dsx: Commands, sending: Sending) -> None:
    dsx("tasks", "pause", sending.id)
    sending.let_go()
    assert sending.process.stderr is not None
    assert b"is paused" in sending.process.stderr.readline()
    sending.process.send_signal(2)
    assert b"run the same command again" in ended(sending.process, 130).stderr


def test_listing(dsx: Commands, client: DatasetHubClient, download: TaskInfo) -> None:
    over = client.tasks.abort(client.tasks.create_delete(glob="tasks/*"))
    found = {task["id"]: task for task in lines(dsx("tasks", "list", "--json"))}
    assert found[download.id]["state"] == "pending"
    assert found[over.id]["state"] == "aborted"
    active = [task["id"] for task in lines(dsx("tasks", "ls", "--active", "--json"))]
    assert download.id in active
    assert over.id not in active
    assert len(lines(dsx("tasks", "list", "--limit", "1", "--json"))) == 1
    row = next(
        line for line in dsx("tasks", "list").stdout.decode().splitlines() if over.id in line
    )
    assert row.split()[1:4] == ["delete", "aborted", "0/0"]


@pytest.mark.parametrize("what", ["pause", "resume", "abort", "watch"])
def test_unknown_tasks(dsx: Commands, what: str) -> None:
    unknown = str(uuid.uuid4())
    done = dsx("tasks", what, unknown, code=3)
    assert done.stdout == b""
    assert unknown in done.stderr.decode()
    dsx("tasks", what, "no-id", code=3)


def test_what_is_over_cannot_be_changed(
    dsx: Commands, client: DatasetHubClient, download: TaskInfo
) -> None:
    client.tasks.abort(download)
    for what in ("pause", "resume"):
        assert b"aborted" in dsx("tasks", what, download.id, code=5).stderr


def test_one_unknown_id_among_others(dsx: Commands, client: DatasetHubClient) -> None:
    """The others are changed all the same."""
    info = client.upload(b"x", "tasks/several")
    tasks = [client.tasks.create_download([info]) for _ in range(2)]
    unknown = str(uuid.uuid4())
    done = dsx("tasks", "pause", tasks[0].id, unknown, tasks[1].id, "--json", code=3)
    assert [task["id"] for task in lines(done)] == [task.id for task in tasks]
    assert [client.tasks.get(task).state for task in tasks] == ["paused", "paused"]
    assert unknown in done.stderr.decode()


def watching(process: subprocess.Popen[bytes]) -> dict[str, object]:
    assert process.stdout is not None
    task: dict[str, object] = json.loads(process.stdout.readline())
    return task


def test_watching_one_until_it_is_over(
    dsx: Commands, client: DatasetHubClient, download: TaskInfo, tmp_path: Path
) -> None:
    process = dsx.start("tasks", "watch", download.id, "--json")
    assert watching(process)["state"] == "pending"
    client.tasks.pause(download)
    assert watching(process)["state"] == "paused"
    client.tasks.resume(download)
    client.tasks.download(download, tmp_path / "a.zip")
    states = [task["state"] for task in lines(ended(process))]
    assert states[-1] == "completed"
    assert (
        f"{download.id}  download  completed" in dsx("tasks", "watch", download.id).stdout.decode()
    )


def test_a_connection_that_is_cut_under_watch(
    through: Commands, client: DatasetHubClient, proxy: Proxy, download: TaskInfo
) -> None:
    process = through.start("tasks", "watch", download.id, "--json")
    assert watching(process)["state"] == "pending"
    for state, change in (("paused", client.tasks.pause), ("running", client.tasks.resume)):
        proxy.cut()
        change(download)
        assert watching(process)["state"] == state
    proxy.cut()
    client.tasks.abort(download)
    done = ended(process)
    assert [task["state"] for task in lines(done)] == ["aborted"]
    assert done.stderr == b""


def test_a_server_that_goes_away_under_watch(tmp_path: Path) -> None:
    with running_hub(tmp_path / "hub") as hub, corrupting_proxy(hub.url) as proxy:
        dsx = Commands(tmp_path, {"SERVER_URL": proxy.url, "DSX_API_KEY": hub.key})
        with DatasetHubClient(hub.url, hub.key, None) as client:
            client.tasks.create_download([client.upload(b"x", "a")])
        process = dsx.start("tasks", "watch", "--json")
        assert watching(process)["state"] == "pending"
        hub.kill()
        proxy.cut()
        assert b"is the server running" in ended(process, 7).stderr


def test_a_watch_ends_with_an_interrupt(
    dsx: Commands, client: DatasetHubClient, download: TaskInfo
) -> None:
    """Of all tasks; and it shows new ones."""
    process = dsx.start("tasks", "watch", "--json")
    while watching(process)["id"] != download.id:
        pass
    new = client.tasks.create_delete(glob="tasks/*")
    while watching(process)["id"] != new.id:
        pass
    process.send_signal(2)
    ended(process, 130)
