"""Tasks through the SDK: pausing, resuming, aborting and watching what another client transfers."""

from __future__ import annotations

import random
import threading
import uuid
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.support.corrupting import Faults, Proxy, corrupting_proxy
from tests.support.faulty import FaultyServer
from tests.support.hub import RunningHub, running_hub
from tests.support.waiting import eventually

from dsx import DatasetHubClient
from dsx.client import errors, tasks
from dsx.client.models import TaskInfo

MIB = 1 << 20


@pytest.fixture(scope="module")
def brisk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    """A hub that closes paused requests soon."""
    with running_hub(tmp_path_factory.mktemp("brisk"), DSX_PAUSE_GRACE="0.3") as running:
        yield running


@pytest.fixture
def proxy(brisk: RunningHub) -> Iterator[Proxy]:
    with corrupting_proxy(brisk.url) as running:
        yield running


@pytest.fixture
def worker(brisk: RunningHub, proxy: Proxy) -> Iterator[DatasetHubClient]:
    """Who transfers, through the proxy."""
    with DatasetHubClient(proxy.url, brisk.key, None) as opened:
        yield opened


@pytest.fixture
def boss(brisk: RunningHub) -> Iterator[DatasetHubClient]:
    """Who controls it, from elsewhere."""
    with DatasetHubClient(brisk.url, brisk.key, None) as opened:
        yield opened


class Interfering:
    """Does something to an upload once it has sent *after* bytes, and notes its states."""

    def __init__(self, boss: DatasetHubClient, what: str, after: int = MIB) -> None:
        self.told: list[str] = []
        self.id = ""
        self._boss = boss
        self._what = what
        self._after = after
        self._done = False

    def progress(self, done: int, _total: int | None, _name: str) -> None:
        if done >= self._after and not self._done:
            self._done = True
            getattr(self._boss.tasks, self._what)(self.id)

    def on_state(self, state: str, _name: str, id_: str) -> None:
        self.told.append(state)
        self.id = id_
        if state == "paused":
            assert self._boss.tasks.get(id_).state == "paused"
            self._boss.tasks.resume(id_)


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("after", [1, MIB, 3 * MIB])
def test_a_paused_upload_waits_and_goes_on(
    worker: DatasetHubClient, boss: DatasetHubClient, few: Path, after: int
) -> None:
    """From its first byte, in the middle, and at its last, when it may be all there already."""
    other = Interfering(boss, "pause", after)
    info = worker.upload(few, progress=other.progress, on_state=other.on_state)
    waited = ["running", "paused", "running"]
    assert other.told == waited or (after == 3 * MIB and other.told == ["running"])
    assert boss.download_bytes(info) == few.read_bytes()
    assert [one.version for one in boss.versions(few.name)] == [1]
    assert boss.tasks.get(other.id).state == "completed"


@pytest.mark.usefixtures("small_parts")
def test_while_an_upload_is_paused_nothing_is_sent(
    worker: DatasetHubClient, boss: DatasetHubClient, proxy: Proxy, few: Path
) -> None:
    paused = threading.Event()
    other = Interfering(boss, "pause")

    def on_state(state: str, _name: str, id_: str) -> None:
        other.id = id_
        if state == "paused":
            paused.set()

    with ThreadPoolExecutor(1) as pool:
        upload = pool.submit(worker.upload, few, progress=other.progress, on_state=on_state)
        assert paused.wait(20)
        eventually(lambda: len(proxy.faults.parts()) == _settled(proxy))
        before = len(proxy.faults.parts())
        _settled(proxy, 1.2)
        assert len(proxy.faults.parts()) == before
        assert not upload.done()
        assert boss.tasks.get(other.id).done < 3 * MIB
        boss.tasks.resume(other.id)
        assert upload.result(30).size == 3 * MIB


def _settled(proxy: Proxy, seconds: float = 0.3) -> int:
    """How many parts were sent, a little later."""
    threading.Event().wait(seconds)
    return len(proxy.faults.parts())


@pytest.mark.usefixtures("small_parts")
def test_a_pause_that_is_longer_than_all_retries(
    brisk: RunningHub, proxy: Proxy, boss: DatasetHubClient, few: Path
) -> None:
    """Being paused is no failure, however often it is asked."""
    told: list[str] = []
    with DatasetHubClient(proxy.url, brisk.key, None, retries=0) as worker:
        for _ in range(2):
            other = Interfering(boss, "pause", 1)
            worker.upload(few, progress=other.progress, on_state=other.on_state)
            told += other.told
    assert told.count("paused") == 2


@pytest.mark.usefixtures("small_parts")
def test_an_aborted_upload_ends(
    brisk: RunningHub, worker: DatasetHubClient, boss: DatasetHubClient, few: Path, state: Path
) -> None:
    other = Interfering(boss, "abort")
    with pytest.raises(errors.Gone):
        worker.upload(few, progress=other.progress, on_state=other.on_state)
    assert boss.tasks.get(other.id).state == "aborted"
    assert list(state.iterdir()) == []
    assert list(boss.list_files(few.name)) == []
    assert worker.upload(few).version == 1


@pytest.mark.usefixtures("small_parts")
def test_an_upload_that_is_aborted_while_it_is_paused_ends(
    worker: DatasetHubClient, boss: DatasetHubClient, few: Path
) -> None:
    other = Interfering(boss, "pause")

    def on_state(state: str, _name: str, id_: str) -> None:
        other.id = id_
        if state == "paused":
            boss.tasks.abort(id_)

    with pytest.raises(errors.Gone):
        worker.upload(few, progress=other.progress, on_state=on_state)


@pytest.mark.usefixtures("small_parts")
def test_what_is_over_cannot_be_changed(
    worker: DatasetHubClient, boss: DatasetHubClient, few: Path
) -> None:
    other = Interfering(boss, "get")
    worker.upload(few, on_state=other.on_state)
    for change in (boss.tasks.pause, boss.tasks.resume, boss.tasks.abort):
        with pytest.raises(errors.Conflict):
            change(other.id)
    for change in (boss.tasks.get, boss.tasks.pause, boss.tasks.resume, boss.tasks.abort):
        with pytest.raises(errors.NotFound):
            change(str(uuid.uuid4()))


@pytest.mark.usefixtures("small_parts")
def test_an_upload_is_watched_until_it_is_over(
    worker: DatasetHubClient, boss: DatasetHubClient, few: Path
) -> None:
    seen: list[TaskInfo] = []
    other = Interfering(boss, "pause", 1)
    watching = threading.Event()

    def watch(id_: str) -> None:
        for task in boss.tasks.watch(id_):
            seen.append(task)
            watching.set()
            if task.state == "paused":
                boss.tasks.resume(task)

    def on_state(state: str, _name: str, id_: str) -> None:
        other.id = id_
        if not seen:
            watcher.submit(watch, id_)
            assert watching.wait(20)

    with ThreadPoolExecutor(1) as watcher:
        worker.upload(few, progress=other.progress, on_state=on_state)
    assert {task.id for task in seen} == {other.id}
    assert "paused" in [task.state for task in seen]
    assert seen[-1].state == "completed"
    assert (seen[-1].done, seen[-1].total, seen[-1].name) == (3 * MIB, 3 * MIB, few.name)
    assert [task.over for task in seen] == [False] * (len(seen) - 1) + [True]
    assert [task.state for task in boss.tasks.watch(other.id)] == ["completed"]


def test_a_watch_survives_a_break(
    worker: DatasetHubClient, boss: DatasetHubClient, proxy: Proxy
) -> None:
    task = boss.tasks.create_download(_three(boss, 10), name="watched")
    seen = worker.tasks.watch(task)
    assert next(seen).state == "pending"
    proxy.cut()
    proxy.faults = Faults(drop_reply=1)
    boss.tasks.abort(task)
    assert [one.state for one in seen] == ["aborted"]  # and what was known is not told again
    assert proxy.faults.fired == ["drop_reply"]


def test_all_tasks_are_watched_until_one_leaves(boss: DatasetHubClient) -> None:
    watch = boss.tasks.watch()
    task = boss.tasks.create_delete(_three(boss, 10))
    assert task.id in [next(watch).id for _ in range(len(list(boss.tasks.list())))]
    watch.close()  # type: ignore[attr-defined]


def test_a_watch_gives_up_with_the_server(server: FaultyServer, client: DatasetHubClient) -> None:
    server.faults.refusals = 99
    with pytest.raises(errors.Unavailable):
        list(client.tasks.watch())
    assert len(server.requests) == 4
    server.faults.refusals = 0
    with pytest.raises(errors.NotFound):
        list(client.tasks.watch(str(uuid.uuid4())))


def test_listing_pages_by_itself(boss: DatasetHubClient, monkeypatch: pytest.MonkeyPatch) -> None:
    made = {boss.tasks.create_download(_three(boss, 1)).id for _ in range(5)}
    known = [task.id for task in boss.tasks.list()]
    assert made <= set(known)
    monkeypatch.setattr(tasks, "_PAGE", 2)
    assert [task.id for task in boss.tasks.list()] == known
    assert [task.id for task in boss.tasks.list(3)] == known[:3]
    assert list(boss.tasks.list(0)) == []


def _three(client: DatasetHubClient, size: int) -> list[str]:
    """Ids of three new files."""
    return [
        client.upload(random.Random(number).randbytes(size), f"tasks/{uuid.uuid4().hex}").id
        for number in range(3)
    ]


def asked_for_content(proxy: Proxy) -> int:
    """How often somebody asked for the bytes of a task."""
    requests = [line for line, _ in proxy.faults.asked]
    return sum(line.startswith("GET") and "/content" in line for line in requests)


def test_a_download_task_is_paused_and_resumed(
    worker: DatasetHubClient, boss: DatasetHubClient, proxy: Proxy, tmp_path: Path
) -> None:
    task = boss.tasks.create_download(_three(boss, 12 * MIB), name="three")
    assert (task.kind, task.state, task.name) == ("download", "pending", "three")
    paused = threading.Event()
    seen: list[int] = []

    def progress(done: int, _total: int | None, _name: str) -> None:
        seen.append(done)
        if done > MIB and not paused.is_set():
            boss.tasks.pause(task)
            paused.set()

    with ThreadPoolExecutor(1) as pool:
        download = pool.submit(
            worker.tasks.download, task, tmp_path / "three.zip", progress=progress
        )
        eventually(lambda: asked_for_content(proxy) > 1)
        assert boss.tasks.get(task).state == "paused"
        assert seen[-1] < 36 * MIB
        boss.tasks.resume(task)
        assert download.result(30) == tmp_path / "three.zip"
    assert proxy.faults.ranges
    assert all(int(wanted[6:-1]) >= MIB for wanted in proxy.faults.ranges)
    assert seen == sorted(seen)
    with zipfile.ZipFile(tmp_path / "three.zip") as archive:
        assert archive.testzip() is None
        contents = [archive.read(name) for name in archive.namelist()]
    assert contents == [random.Random(number).randbytes(12 * MIB) for number in range(3)]
    eventually(lambda: boss.tasks.get(task).state == "completed")
    assert [entry.name for entry in tmp_path.iterdir()] == ["three.zip"]


def test_an_aborted_download_task_leaves_nothing(
    worker: DatasetHubClient, boss: DatasetHubClient, tmp_path: Path
) -> None:
    task = boss.tasks.create_download(_three(boss, 12 * MIB))
    done = threading.Event()

    def progress(_done: int, _total: int | None, _name: str) -> None:
        if not done.is_set():
            boss.tasks.abort(task)
            done.set()

    with pytest.raises(errors.Gone):
        worker.tasks.download(task, tmp_path / "a.zip", progress=progress)
    assert list(tmp_path.iterdir()) == []


def test_a_download_task_over_a_broken_connection(
    worker: DatasetHubClient, boss: DatasetHubClient, proxy: Proxy, tmp_path: Path
) -> None:
    task = boss.tasks.create_download(_three(boss, 12 * MIB))
    cut = threading.Event()

    def progress(done: int, _total: int | None, _name: str) -> None:
        if done > 10 * MIB and not cut.is_set():
            cut.set()
            proxy.cut()

    worker.tasks.download(task, tmp_path / "a.zip", progress=progress)
    assert len(proxy.faults.ranges) == 1
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.testzip() is None


def test_what_a_task_is_about(boss: DatasetHubClient) -> None:
    mark = uuid.uuid4().hex
    infos = [boss.upload(b"x", f"{mark}-{n}", category=mark, tags=[mark]) for n in range(3)]
    for given in (
        {"glob": f"{mark}*"},
        {"regex": f"^{mark}"},
        {"category": mark},
        {"tags": [mark]},
        {"refs": infos},
        {"refs": [info.number for info in infos]},
    ):
        task = boss.tasks.create_delete(**given)  # type: ignore[arg-type]
        assert (task.kind, task.name) == ("delete", "3 files")
    for create in (boss.tasks.create_delete, boss.tasks.create_download):
        with pytest.raises(errors.Invalid, match="Select files"):
            create()
        with pytest.raises(errors.NotFound):
            create([str(uuid.uuid4())])
    later = boss.upload(b"x", f"{mark}-later", category=mark)
    done = boss.tasks.delete(task)
    assert (done.state, done.done, done.total) == ("completed", 3, 3)
    assert [info.id for info in boss.list_files(f"{mark}*")] == [later.id]
    assert {info.id for info in infos} <= {info.id for info in boss.list_trash()}


@pytest.mark.parametrize("fault", [{"drop_reply": 1}, {"cut_after": 10}])
def test_a_delete_whose_answer_is_lost_is_asked_again(
    worker: DatasetHubClient, boss: DatasetHubClient, proxy: Proxy, fault: dict[str, int]
) -> None:
    task = boss.tasks.create_delete(_three(boss, 10))
    proxy.faults = Faults(**fault)  # type: ignore[arg-type]
    assert worker.tasks.delete(task).state == "completed"
    assert proxy.faults.fired


@pytest.mark.parametrize("status", [502, 503, 429])
def test_a_delete_that_is_refused_is_asked_again(
    server: FaultyServer, client: DatasetHubClient, status: int
) -> None:
    server.faults.refusals, server.faults.status = 2, status
    with pytest.raises(errors.NotFound):  # the faulty server knows no tasks
        client.tasks.delete("a")
    assert len(server.requests) == 3


def test_a_paused_delete_waits(worker: DatasetHubClient, boss: DatasetHubClient) -> None:
    task = boss.tasks.create_delete(_three(boss, 10))
    boss.tasks.pause(task)
    with ThreadPoolExecutor(1) as pool:
        delete = pool.submit(worker.tasks.delete, task)
        threading.Event().wait(0.8)
        assert not delete.done()
        boss.tasks.resume(task)
        assert delete.result(20).state == "completed"
    other = boss.tasks.create_delete(_three(boss, 10))
    boss.tasks.abort(other)
    with pytest.raises(errors.Gone):
        worker.tasks.delete(other)
