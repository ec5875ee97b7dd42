"""Expiry: what is being written to has time, whatever the clock says; what was left behind ends."""

from __future__ import annotations

import base64
import hashlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from tests.support.apt import ensure
from tests.support.hub import RunningHub, running_hub, start_hub
from tests.support.waiting import eventually, in_time
from tests.support.wire import Wire, wire
from tests.uploads.conftest import noise
from tests.uploads.speakers import CHUNK, TUS, Native, Speaker, Tus, id_of, path_of

MIB = 1024**2
DAY = 24 * 3600
STRICT = {"DSX_UPLOAD_EXPIRY": "2", "DSX_COLLECT_INTERVAL": "0.3"}


def offset_of(speaker: Speaker) -> int:
    return int(speaker.hub.get(f"/api/v1/uploads/{id_of(speaker.path)}").json()["offset"])


@contextmanager
def sending(speaker: Speaker, data: bytes, *fields: str) -> Iterator[Wire]:
    """A request for all of *data*, of which the first half has been sent."""
    method, path, said = speaker.head_of(0, len(data), last=True)
    lines = [f"{name}: {value}" for name, value in said.items()]
    with wire(speaker.hub) as connection:
        size = f"Content-Length: {len(data)}"
        head = connection.head(method, path, *lines, size, *fields)
        connection.send(head + data[: len(data) // 2])
        yield connection


def checksum(data: bytes) -> str:
    return f"Upload-Checksum: sha1 {base64.b64encode(hashlib.sha1(data).digest()).decode()}"


def test_an_upload_whose_writer_crashed_expires(tmp_path: Path) -> None:
    data = noise(2 * MIB)
    hub = start_hub(tmp_path, **STRICT)
    speaker = Native(hub, "crashed", len(data))
    speaker.create()
    with sending(speaker, data):
        assert in_time(lambda: offset_of(speaker) == MIB)
        hub.kill()
    with running_hub(tmp_path, **STRICT) as again:
        stage = again.data_dir / "staging" / id_of(speaker.path)
        assert in_time(lambda: not stage.exists())
        assert again.get(speaker.path).status_code in {404, 410}
        with closing(sqlite3.connect(again.data_dir / "catalog.db")) as catalog:
            assert in_time(
                lambda: catalog.execute("SELECT count(*) FROM writers").fetchone() == (0,)
            )


def test_a_checked_part_may_take_longer_than_an_upload_may_wait(tmp_path: Path) -> None:
    """None of its bytes are recorded before all are there; other uploads come and go meanwhile."""
    data = noise(1000)
    with running_hub(tmp_path, **STRICT) as hub:
        speaker, other = Tus(hub, "slow", len(data)), Native(hub, "other", MIB)
        speaker.create()
        other.create()
        with sending(other, noise(MIB)) as beside:
            time.sleep(1.6)
            with sending(speaker, data, checksum(data)) as connection:
                for start in range(500, 1000, 50):
                    time.sleep(0.4)
                    connection.send(data[start : start + 50])
                    beside.send(bytes(1))
                assert connection.answer().status == 204
        assert speaker.finish()["sha256"] == hashlib.sha256(data).hexdigest()


def test_what_is_to_be_joined_lives_as_long_as_what_is_written(tmp_path: Path) -> None:
    """A final and its ready partials wait for the one that is still on its way."""
    with running_hub(tmp_path, **STRICT) as hub:
        paths = []
        for _ in range(2):
            fields = TUS | {"Upload-Length": "100", "Upload-Concat": "partial"}
            paths.append(path_of(hub.post("/uploads", headers=fields)))
        final = hub.post("/uploads", headers=TUS | {"Upload-Concat": f"final;{' '.join(paths)}"})
        fields = TUS | CHUNK | {"Upload-Offset": "0"}
        assert hub.request("PATCH", paths[0], data=b"a" * 100, headers=fields).status_code == 204
        for offset in range(0, 100, 10):
            time.sleep(0.5)
            fields = TUS | CHUNK | {"Upload-Offset": str(offset)}
            answer = hub.request("PATCH", paths[1], data=b"b" * 10, headers=fields)
            assert answer.status_code == 204
        answer = hub.request("HEAD", path_of(final), headers=TUS)
        assert (answer.status_code, answer.headers["Upload-Offset"]) == (200, "200")


def _faketime() -> str:
    libraries = Path("/usr/lib")
    found = ensure(lambda: [*libraries.glob("*/faketime/libfaketimeMT.so.1")], "libfaketime")
    return str(found[0])


class Clock:
    """The clock of one hub, which can be set while it runs; it is told by a file."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "clock"
        self.set(0)

    def set(self, seconds: int) -> None:
        """So many seconds before or after the right time."""
        draft = self.file.with_suffix(".new")
        draft.write_text(f"{seconds:+d}s\n")
        draft.replace(self.file)

    def settings(self) -> dict[str, str]:
        return {
            "LD_PRELOAD": _faketime(),
            "FAKETIME_TIMESTAMP_FILE": str(self.file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }


@pytest.fixture(scope="module")
def clocked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningHub, Clock]]:
    directory = tmp_path_factory.mktemp("clocked")
    clock = Clock(directory)
    with running_hub(directory, DSX_COLLECT_INTERVAL="0.3", **clock.settings()) as hub:
        yield hub, clock


@pytest.fixture
def timed(clocked: tuple[RunningHub, Clock]) -> tuple[RunningHub, Clock]:
    """A hub, and its clock, which is right; uploads expire after a day."""
    clocked[1].set(0)
    return clocked


def day(hub: RunningHub) -> str:
    """Which day it is for the hub."""
    return str(hub.post("/api/v1/tasks", json={}).json()["created"][:10])


def forth(clock: Clock) -> None:
    clock.set(DAY + 3600)


def back(clock: Clock) -> None:
    clock.set(-DAY - 3600)


def there_and_back(clock: Clock) -> None:
    forth(clock)
    time.sleep(3)
    back(clock)


@pytest.mark.skipif(os.uname().sysname != "Linux", reason="LD_PRELOAD")
@pytest.mark.parametrize("checked", [False, True])
@pytest.mark.parametrize("jump", [forth, back, there_and_back])
def test_24_the_clock_jumps(
    timed: tuple[RunningHub, Clock], jump: Callable[[Clock], None], *, checked: bool
) -> None:
    """An upload that is being written to is not lost, and neither is the right to write to it."""
    hub, clock = timed
    data = noise(4 * MIB)
    speaker = Tus(hub, f"{jump.__name__}-{checked}", len(data))
    speaker.create()
    with sending(speaker, data, *([checksum(data)] if checked else [])) as connection:
        stage = hub.data_dir / "staging" / id_of(speaker.path)
        assert in_time(lambda: stage.exists() and stage.stat().st_size >= MIB)
        today = day(hub)
        jump(clock)
        assert day(hub) != today
        for start in range(2 * MIB, 3 * MIB, MIB // 8):
            connection.send(data[start : start + MIB // 8])
            time.sleep(0.4)
        connection.send(data[3 * MIB :])
        assert connection.answer().status == 204
    assert speaker.finish()["sha256"] == hashlib.sha256(data).hexdigest()


def test_24_a_newer_writer_takes_over_while_the_clock_jumps(
    timed: tuple[RunningHub, Clock],
) -> None:
    hub, clock = timed
    data = noise(4 * MIB)
    for number, jump in enumerate((forth, back)):
        clock.set(0)
        speaker = Tus(hub, f"jump-{number}", len(data))
        speaker.create()
        with sending(speaker, data) as stale:
            assert in_time(lambda: offset_of(speaker) == 2 * MIB)  # noqa: B023
            jump(clock)
            time.sleep(0.5)
            began = time.monotonic()
            offset = speaker.offset()
            assert offset == 2 * MIB
            assert speaker.append(offset, data[offset:]).ok
            assert time.monotonic() - began < 5  # reading a clock that is set by a file is slow
            assert stale.answer().status in {409, 410}
        assert speaker.finish()["sha256"] == hashlib.sha256(data).hexdigest()


def test_24_watchers_see_tasks_change_after_the_clock_was_set_back(
    timed: tuple[RunningHub, Clock],
) -> None:
    hub, clock = timed
    task = hub.post("/api/v1/tasks", json={}).json()["id"]
    fields = {"params": {"id": task, "seconds": 6}, "stream": True}
    with hub.get("/api/v1/tasks/events", **fields) as events:
        lines = events.iter_lines(chunk_size=1, decode_unicode=True)
        seen = [line for line in (next(lines) for _ in range(4)) if line.startswith("data:")]
        assert '"pending"' in seen[0]
        clock.set(-DAY)
        time.sleep(1)
        assert hub.post(f"/api/v1/tasks/{task}/pause").status_code == 200
        assert any('"paused"' in line for line in lines)


@pytest.mark.skipif(os.uname().sysname != "Linux", reason="LD_PRELOAD")
def test_a_clock_that_is_a_day_ahead_for_one_round_drops_nothing(tmp_path: Path) -> None:
    """Uploads, tokens and files in the trash are there when it is right again."""
    clock = Clock(tmp_path)
    settings = {"DSX_COLLECT_INTERVAL": "3", "DSX_TRASH_DAYS": "0.5", "DSX_LOG_LEVEL": "debug"}
    settings |= clock.settings()

    def rounds() -> int:
        lines = hub.log.read_text().splitlines()
        return sum('"reconciled"' in line and '"Collector"' in line for line in lines)

    def another_round() -> None:
        before = rounds()
        eventually(lambda: rounds() > before)

    with running_hub(tmp_path, **settings) as hub:
        upload = Native(hub, "patient", 6)
        upload.create()
        assert upload.append(0, b"abc").ok
        soon = {"scopes": ["read"], "seconds": DAY // 2}
        token = hub.post("/api/v1/tokens", json=soon).json()
        trashed = hub.store("trashed", b"x")
        assert hub.delete(f"/api/v1/files/{trashed['id']}").ok
        eventually(rounds)
        assert "jumped" not in hub.log.read_text()
        clock.set(DAY + 3600)
        eventually(lambda: "the clock has jumped" in hub.log.read_text())
        clock.set(0)
        eventually(lambda: hub.log.read_text().count("the clock has jumped") == 2)
        another_round()  # by the right time
        assert upload.append(3, b"def").ok
        assert upload.finish()["size"] == 6
        assert hub.get("/api/v1/files", headers={"Authorization": token["token"]}).ok
        assert hub.post(f"/api/v1/trash/{trashed['id']}/restore").ok
        clock.set(DAY + 3600)  # and stays
        with closing(sqlite3.connect(hub.data_dir / "catalog.db")) as catalog:
            count = "SELECT count(*) FROM tokens"
            eventually(lambda: catalog.execute(count).fetchone() == (0,))
