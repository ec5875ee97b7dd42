"""Pause, resume and abort, from any of four server processes, of what another one carries."""

from __future__ import annotations

import hashlib
import io
import os
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from requests import Response
from tests.support.hub import RunningHub, running_hub
from tests.support.wire import open_descriptors
from tests.uploads.conftest import noise
from tests.uploads.speakers import CHUNK, TUS, Native, Speaker, Tus

MIB = 1024**2
GRACE = 3.0
"""Seconds: more than a test pauses for that means to go on in the same request."""


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    """Four processes; a paused request is kept open for a few seconds."""
    settings = {"DSX_WORKERS": "4", "DSX_PAUSE_GRACE": str(GRACE)}
    with running_hub(tmp_path_factory.mktemp("control"), **settings) as running:
        yield running


class Drip(threading.Thread):
    """One request that sends *data* slowly, from offset *start* on, until told to hurry."""

    def __init__(
        self, speaker: Speaker, data: bytes, rate: float = 4 * MIB, *, start: int = 0
    ) -> None:
        super().__init__()
        self.speaker, self.data, self.rate, self.at = speaker, data, rate, start
        self.sent = 0
        self.hurry = threading.Event()
        self.outcome: Any = None
        self.start()

    def pieces(self) -> Iterator[bytes]:
        step = 64 * 1024
        for start in range(0, len(self.data), step):
            yield self.data[start : start + step]
            self.sent = start + step
            self.hurry.wait(step / self.rate)

    def run(self) -> None:
        method, path, fields = self.speaker.head_of(self.at, len(self.data), last=True)
        body = Known(self.pieces(), len(self.data))
        try:
            self.outcome = self.speaker.hub.request(method, path, data=body, headers=fields)
        except requests.RequestException as error:
            self.outcome = error


class Known:
    """An iterable body whose length is told."""

    def __init__(self, pieces: Iterator[bytes], size: int) -> None:
        self._pieces, self._size = pieces, size

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces

    def __len__(self) -> int:
        return self._size


def eventually(check: Callable[[], bool], seconds: float) -> float:
    """How long it took until *check* held."""
    began = time.monotonic()
    while not check():
        assert time.monotonic() - began < seconds
        time.sleep(0.02)
    return time.monotonic() - began


def stored(speaker: Speaker) -> int:
    id_ = speaker.path.rsplit("/", 1)[1]
    return int(speaker.hub.get(f"/api/v1/uploads/{id_}").json()["offset"])


def order(hub: RunningHub, id_: str, what: str) -> dict[str, Any]:
    """Over a connection of its own, so that any of the processes may take it."""
    answer = hub.post(f"/api/v1/tasks/{id_}/{what}")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def descriptors(hub: RunningHub) -> list[str]:
    """What the hub's processes have open below its data directory, but for the catalog."""
    found = []
    pids = [str(hub.process.pid), *children(hub.process.pid)]
    for pid in pids:
        directory = Path("/proc") / pid / "fd"
        for entry in list(directory.iterdir()):
            try:
                target = str(entry.readlink())
            except OSError:
                continue
            if str(hub.data_dir / "staging") in target:
                found.append(target)
    return found


def children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


@pytest.mark.ledger("S1.1", "S1.13", "S1.14", "S1.34", "S1.38")
@pytest.mark.parametrize("kind", [Native, Tus])
def test_pause_and_resume_within_one_request(hub: RunningHub, kind: type[Speaker]) -> None:
    for attempt in range(3):
        data = noise(6 * MIB, seed=attempt)
        speaker = kind(hub, f"pause-{kind.__name__}-{attempt}", len(data))
        speaker.create()
        id_ = speaker.path.rsplit("/", 1)[1]
        drip = Drip(speaker, data)
        eventually(lambda: stored(speaker) > MIB, 10)  # noqa: B023
        assert order(hub, id_, "pause")["state"] == "paused"
        time.sleep(1)
        frozen = stored(speaker)
        time.sleep(0.3)
        assert stored(speaker) == frozen
        order(hub, id_, "resume")
        drip.hurry.set()
        drip.join(20)
        assert drip.outcome.ok, drip.outcome.text
        assert speaker.finish()["sha256"] == hashlib.sha256(data).hexdigest()
        assert hub.get(f"/api/v1/tasks/{id_}").json()["state"] == "completed"


@pytest.mark.parametrize("kind", [Native, Tus])
def test_a_long_pause_ends_the_request_and_keeps_the_offset(
    hub: RunningHub, kind: type[Speaker]
) -> None:
    data = noise(8 * MIB)
    speaker = kind(hub, f"long-{kind.__name__}", len(data))
    speaker.create()
    id_ = speaker.path.rsplit("/", 1)[1]
    drip = Drip(speaker, data)
    eventually(lambda: stored(speaker) > MIB, 10)
    order(hub, id_, "pause")
    time.sleep(GRACE + 1.5)
    offset = stored(speaker)
    assert MIB <= offset < len(data)
    answer = speaker.append(offset, data[offset:])
    assert (answer.status_code, answer.json()["code"]) == (409, "paused")
    order(hub, id_, "resume")
    drip.hurry.set()
    drip.join(20)
    assert speaker.append(offset, data[offset:]).ok
    assert speaker.finish()["sha256"] == hashlib.sha256(data).hexdigest()


@pytest.mark.ledger("S1.15", "S1.37")
@pytest.mark.parametrize("kind", [Native, Tus])
def test_abort_frees_everything(hub: RunningHub, kind: type[Speaker]) -> None:
    before = descriptors(hub)
    speaker = kind(hub, f"abort-{kind.__name__}", 20 * MIB)
    speaker.create()
    id_ = speaker.path.rsplit("/", 1)[1]
    drip = Drip(speaker, noise(20 * MIB))
    eventually(lambda: stored(speaker) > MIB, 10)
    assert any(id_ in name for name in descriptors(hub))
    assert order(hub, id_, "abort")["state"] == "aborted"
    eventually(lambda: descriptors(hub) == before, 5)
    assert not (hub.data_dir / "staging" / id_).exists()
    assert hub.get(f"/api/v1/uploads/{id_}").status_code == 410
    drip.hurry.set()
    drip.join(20)
    assert isinstance(drip.outcome, requests.RequestException) or drip.outcome.status_code == 410
    assert hub.get("/api/v1/files", params={"name": speaker.name}).json()["items"] == []


def test_the_promise_of_room_ends_with_the_upload(hub: RunningHub) -> None:
    """Two uploads of more than half the free space: the second one waits for the first's end."""
    free = os.statvfs(hub.data_dir)
    length = free.f_bavail * free.f_frsize * 6 // 10
    first, second = Tus(hub, "big-1", length), Tus(hub, "big-2", length)
    assert first.create().status_code == 201
    assert second.create().status_code == 507
    assert first.abort().status_code == 204
    assert second.create().status_code == 201
    assert second.abort().status_code == 204


@pytest.mark.parametrize("kind", [Native, Tus])
def test_newcomer_in_another_process_wins_within_a_second(
    hub: RunningHub, kind: type[Speaker]
) -> None:
    for attempt in range(4):
        data = noise(4 * MIB, seed=attempt)
        speaker = kind(hub, f"new-{kind.__name__}-{attempt}", len(data))
        speaker.create()
        drip = Drip(speaker, data)
        eventually(lambda: stored(speaker) > MIB, 10)  # noqa: B023
        began = time.monotonic()
        offset = 0 if kind is Native else speaker.offset()
        answer = speaker.append(offset, data[offset:])
        assert answer.ok, answer.text
        assert time.monotonic() - began < 1
        drip.hurry.set()
        drip.join(20)
        assert speaker.finish()["sha256"] == hashlib.sha256(data).hexdigest()


@pytest.fixture(scope="module")
def download(hub: RunningHub) -> tuple[str, dict[str, bytes]]:
    """A download task of three files, and what is in them."""
    files = {f"dl-{n}.bin": noise(16 * MIB, seed=n) for n in range(3)}
    for name, data in files.items():
        hub.store(name, data, category="dl")
    answer = hub.post("/api/v1/tasks", json={"kind": "download", "category": "dl"})
    assert answer.status_code == 201
    return answer.json()["id"], files


@pytest.mark.ledger("S1.2", "S1.26", "S1.27")
def test_download_paused_and_resumed_by_range(
    hub: RunningHub, download: tuple[str, dict[str, bytes]]
) -> None:
    id_, files = download
    url, headers = f"{hub.url}/api/v1/tasks/{id_}/content", {"Authorization": hub.key}
    got = bytearray()
    with requests.get(url, headers=headers, stream=True, timeout=20) as answer:
        size = int(answer.headers["Content-Length"])
        etag = answer.headers["ETag"]
        while len(got) < 4 * MIB:
            got += answer.raw.read(64 * 1024)
        order(hub, id_, "pause")
        began = time.monotonic()
        try:
            while chunk := answer.raw.read(256 * 1024):
                got += chunk
                time.sleep(0.01)
        except Exception as error:  # noqa: BLE001 (however the client says that it ended early)
            assert "Incomplete" in repr(error) or "broken" in repr(error).lower()
    assert time.monotonic() - began < 5
    assert len(got) < size
    assert requests.get(url, headers=headers, timeout=20).status_code == 409
    order(hub, id_, "resume")
    rest = requests.get(
        url, headers=headers | {"Range": f"bytes={len(got)}-", "If-Range": etag}, timeout=60
    )
    assert rest.status_code == 206
    with zipfile.ZipFile(io.BytesIO(bytes(got) + rest.content)) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == files
    assert hub.get(f"/api/v1/tasks/{id_}").json()["state"] == "completed"


@pytest.mark.ledger("S1.28")
def test_aborted_download_is_never_taken_for_a_whole(hub: RunningHub) -> None:
    for n in range(3):
        hub.store(f"ab-{n}.bin", noise(16 * MIB, seed=n), category="ab")
    id_ = hub.post("/api/v1/tasks", json={"kind": "download", "category": "ab"}).json()["id"]
    url, headers = f"{hub.url}/api/v1/tasks/{id_}/content", {"Authorization": hub.key}
    with requests.get(url, headers=headers, stream=True, timeout=20) as answer:
        answer.raw.read(MIB)
        order(hub, id_, "abort")
        with pytest.raises(Exception, match=r"(?i)incomplete|broken"):
            while answer.raw.read(MIB // 4):
                time.sleep(0.02)
    assert requests.get(url, headers=headers, timeout=20).status_code == 410


def test_delete_task(hub: RunningHub) -> None:
    for n in range(5):
        hub.store(f"del-{n}", b"x", category="del")
    id_ = hub.post("/api/v1/tasks", json={"kind": "delete", "category": "del"}).json()["id"]
    hub.store("del-later", b"x", category="del")
    order(hub, id_, "pause")
    assert hub.post(f"/api/v1/tasks/{id_}/delete").status_code == 409
    order(hub, id_, "resume")
    task = hub.post(f"/api/v1/tasks/{id_}/delete").json()
    assert (task["state"], task["done"], task["total"]) == ("completed", 5, 5)
    left = hub.get("/api/v1/files", params={"category": "del"}).json()["items"]
    assert [item["name"] for item in left] == ["del-later"]


def test_progress_as_server_sent_events(hub: RunningHub) -> None:
    data = noise(6 * MIB)
    speaker = Tus(hub, "events", len(data))
    speaker.create()
    id_ = speaker.path.rsplit("/", 1)[1]
    seen: list[str] = []
    url = f"{hub.url}/api/v1/tasks/events"
    params: dict[str, Any] = {"id": id_, "seconds": 6}
    with requests.get(
        url, params=params, headers={"Authorization": hub.key}, stream=True, timeout=20
    ) as events:
        assert events.headers["Content-Type"].startswith("text/event-stream")
        drip = Drip(speaker, data)
        for line in events.iter_lines():
            if line.startswith(b"data: "):
                seen.append(line.decode())
                if '"completed"' in seen[-1]:
                    break
    drip.join(20)
    assert len(seen) > 3
    assert '"done":0' in seen[0]


def watching(hub: RunningHub) -> Response:
    """An open stream of events that has begun."""
    url, headers = f"{hub.url}/api/v1/tasks/events", {"Authorization": hub.key}
    hub.post("/api/v1/tasks", json={})
    answer = requests.get(url, headers=headers, stream=True, timeout=20)
    assert next(answer.iter_lines()) == b"event: task"
    return answer


def test_a_watcher_that_leaves_is_noticed(tmp_path: Path) -> None:
    with running_hub(tmp_path) as hub:
        before = open_descriptors(hub)
        watching(hub).close()
        eventually(lambda: open_descriptors(hub) <= before, 3)


def test_the_server_stops_though_somebody_watches(tmp_path: Path) -> None:
    with running_hub(tmp_path) as hub, watching(hub):
        begun = time.monotonic()
        assert hub.stop() == 0
        assert time.monotonic() - begun < 4
        log = hub.log.read_text()
        assert "Traceback" not in log
        assert "ERROR" not in log


@pytest.mark.ledger("S1.36")
def test_a_task_that_expires_ends_its_transfer(tmp_path: Path) -> None:
    with running_hub(tmp_path, DSX_TASK_TTL="1.5") as hub:
        task = hub.post("/api/v1/tasks", json={}).json()
        facts = {"name": "expires", "length": 20 * MIB, "task": task["id"]}
        path = hub.post("/api/v1/uploads", json=facts).headers["Location"]
        assert path.endswith(task["id"])
        speaker = Native(hub, "expires", 20 * MIB, path)
        drip = Drip(speaker, noise(20 * MIB))
        eventually(lambda: hub.get(f"/api/v1/tasks/{task['id']}").json()["state"] == "expired", 5)
        time.sleep(0.5)
        drip.hurry.set()
        drip.join(10)
        failed = isinstance(drip.outcome, requests.RequestException)
        assert failed or drip.outcome.status_code == 410


def test_only_known_tasks_can_be_controlled(hub: RunningHub) -> None:
    for what in ("pause", "resume", "abort"):
        assert hub.post(f"/api/v1/tasks/unknown/{what}").status_code == 404
    done = Tus(hub, "done", 0)
    done.create()
    id_ = done.path.rsplit("/", 1)[1]
    for what in ("pause", "resume", "abort"):
        assert hub.post(f"/api/v1/tasks/{id_}/{what}").status_code == 409
    assert hub.request("PATCH", done.path, headers=TUS | CHUNK | {"Upload-Offset": "0"}).ok
