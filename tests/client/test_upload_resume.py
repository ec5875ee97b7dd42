"""Uploads that another process goes on with: kills, restarts, forgetful servers, two at once."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.support.corrupting import Faults, Proxy, corrupting_proxy
from tests.support.digests import sha256
from tests.support.hub import RunningHub, clean_environment, running_hub, start_hub
from tests.support.waiting import eventually

from dsx import DatasetHubClient
from dsx.client import errors, upload_journal, uploading
from dsx.client.local_file import SAMPLE, SAMPLES, LocalFile
from dsx.client.uploading import FileFields

MIB = 1 << 20
SIZE = 40 * MIB
"""Of a file that a process of its own sends in three parts."""


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / f"{uuid.uuid4().hex}.bin"
    path.write_bytes(random.Random(str(tmp_path)).randbytes(SIZE))
    return path


def begin(url: str, key: str, path: Path, *options: str) -> subprocess.Popen[bytes]:
    """`dsx upload` in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "dsx", "upload", str(path), "--json", *options],
        env=clean_environment(SERVER_URL=url, DSX_API_KEY=key),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def end(process: subprocess.Popen[bytes]) -> dict:
    printed, told = process.communicate(timeout=60)
    assert process.returncode == 0, told.decode()
    (info,) = [json.loads(line) for line in printed.splitlines()]
    return info


def received(hub: RunningHub, id_: str) -> int:
    """How many bytes of an upload are there, once nobody is writing them."""
    sizes = []
    while len(sizes) < 2 or sizes[-1] != sizes[-2]:
        time.sleep(0.2)
        there = hub.get(f"/api/v1/uploads/{id_}").json()["received"]
        sizes.append(sum(stop - start for start, stop in there))
    return sizes[-1]


def remembered(state: Path) -> str:
    """The id of the one upload in *state*."""
    (found,) = state.glob("*.json")
    return json.loads(found.read_bytes())["upload"]


def interrupted(proxy: Proxy, process: subprocess.Popen[bytes], after: int, number: int) -> bytes:
    """Send the signal *number* once *after* bytes have passed; what the process told."""
    proxy.faults = Faults(hang_after=after)
    faults = proxy.faults
    eventually(lambda: faults.fired)
    process.send_signal(number)
    told = b""
    if number == signal.SIGKILL:
        told = process.communicate(timeout=20)[1]
    proxy.faults = Faults()
    faults.resume()
    return told or process.communicate(timeout=20)[1]


def sent(proxy: Proxy) -> int:
    return sum(length for _, length in proxy.faults.parts())


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_another_process_goes_on(
    hub: RunningHub,
    proxy: Proxy,
    large: Path,
    state: Path,
    number: signal.Signals,
) -> None:
    told = interrupted(proxy, begin(proxy.url, hub.key, large), 25 * MIB, number)
    id_ = remembered(state)
    kept = eventually(lambda: received(hub, id_))
    assert kept > 10 * MIB
    info = end(begin(proxy.url, hub.key, large))
    assert sent(proxy) <= SIZE - kept
    assert (info["sha256"], info["version"], info["size"]) == (sha256(large), 1, SIZE)
    assert list(state.iterdir()) == []
    assert b"Traceback" not in told
    assert hub.get(f"/api/v1/uploads/{id_}").json()["file"]["id"] == info["id"]


def test_an_interrupt_says_how_to_go_on(hub: RunningHub, proxy: Proxy, large: Path) -> None:
    process = begin(proxy.url, hub.key, large)
    told = interrupted(proxy, process, 25 * MIB, signal.SIGINT)
    assert process.returncode == 130
    assert b"run the same command again to resume from " in told
    process = begin(proxy.url, hub.key, large, "--no-resume", "--name", "no-resume")
    told = interrupted(proxy, process, 25 * MIB, signal.SIGINT)
    assert process.returncode == 130
    assert b"resume from" not in told


def test_a_server_that_crashes_meanwhile(tmp_path: Path, large: Path, state: Path) -> None:
    """A client that is patient enough sees nothing of it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    first = start_hub(tmp_path, DSX_PORT=port)
    try:
        with corrupting_proxy(first.url) as proxy:
            proxy.faults = Faults(hang_after=25 * MIB)
            process = begin(proxy.url, first.key, large)
            eventually(lambda: proxy.faults.fired)
            first.kill()
            with running_hub(tmp_path, DSX_PORT=port) as second:
                proxy.faults.resume()  # until then nobody gets through to it
                info = end(process)
                assert info["sha256"] == sha256(large)
                with DatasetHubClient(second.url, second.key, None) as client:
                    assert [one.version for one in client.versions(large.name)] == [1]
    finally:
        if first.process.poll() is None:
            first.kill()
    assert list(state.iterdir()) == []


def test_two_processes_with_the_same_file(hub: RunningHub, large: Path, state: Path) -> None:
    both = [begin(hub.url, hub.key, large) for _ in range(2)]
    infos = [end(process) for process in both]
    assert [info["sha256"] for info in infos] == [sha256(large)] * 2
    assert list(state.iterdir()) == []


@pytest.mark.usefixtures("small_parts")
def test_two_threads_with_the_same_file(
    through: DatasetHubClient, proxy: Proxy, few: Path, state: Path
) -> None:
    """The second one goes its own way; the first one's state is left alone."""
    proxy.faults = Faults(hang_after=MIB)
    faults = proxy.faults
    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(through.upload, few)
        eventually(lambda: faults.fired)
        proxy.faults = Faults()
        assert through.upload(few).sha256 == sha256(few)
        assert len(list(state.glob("*.json"))) == 1
        faults.resume()
        assert one.result(30).sha256 == sha256(few)
    assert sorted(info.version for info in through.versions(few.name)) == [1, 2]
    assert list(state.iterdir()) == []


def stop_in_the_middle(client: DatasetHubClient, path: Path, **more: object) -> None:
    def interrupt(done: int, _total: int | None, _name: str) -> None:
        if done > 2 * MIB:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        client.upload(path, progress=interrupt, **more)  # type: ignore[arg-type]


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("how", ["aborted", "unknown", "garbage", "finished", "purged", "trashed"])
def test_what_became_of_the_upload_meanwhile(
    hub: RunningHub, through: DatasetHubClient, proxy: Proxy, few: Path, state: Path, how: str
) -> None:
    stop_in_the_middle(through, few)
    id_ = remembered(state)
    (place,) = state.glob("*.json")
    if how == "aborted":
        through.tasks.abort(id_)
    elif how == "unknown":
        place.write_text(json.dumps({"upload": str(uuid.uuid4())}))
    elif how == "garbage":
        place.write_bytes(b"\xff{")
    else:
        remember = place.read_bytes()
        first = through.upload(few)
        place.write_bytes(remember)  # as if it had been killed before it could forget
        if how != "finished":
            through.delete(first)
        if how == "purged":
            through.purge(first)
    proxy.faults = Faults()
    info = through.upload(few)
    assert info.sha256 == sha256(few)
    assert info.trashed is None
    assert sent(proxy) == (0 if how == "finished" else 3 * MIB)
    assert [one.version for one in through.versions(few.name)] == [1]
    assert list(state.iterdir()) == []


def test_an_upload_that_expired(tmp_path: Path, few: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploading, "PARTS_FROM", MIB)
    with (
        running_hub(tmp_path, DSX_UPLOAD_EXPIRY="1", DSX_COLLECT_INTERVAL="0.2") as hub,
        DatasetHubClient(hub.url, hub.key, None) as client,
    ):
        stop_in_the_middle(client, few)
        eventually(lambda: hub.get("/api/v1/uploads").json()["items"] == [])
        assert client.upload(few).sha256 == sha256(few)


@pytest.mark.usefixtures("small_parts")
def test_what_is_sent_after_an_interrupt_is_what_was_missing(
    hub: RunningHub, through: DatasetHubClient, proxy: Proxy, few: Path, state: Path
) -> None:
    stop_in_the_middle(through, few)
    kept = received(hub, remembered(state))
    proxy.faults, seen = Faults(), []
    info = through.upload(few, progress=lambda done, total, name: seen.append(done))
    assert 0 < kept < 3 * MIB
    assert sent(proxy) <= 3 * MIB - kept
    assert seen[0] >= kept
    assert seen[-1] == 3 * MIB
    assert info.sha256 == sha256(few)


@pytest.mark.usefixtures("small_parts")
def test_changed_content_of_the_same_size_and_time_is_not_mixed(
    through: DatasetHubClient, few: Path
) -> None:
    """The samples miss it; the hash of the whole does not."""
    stop_in_the_middle(through, few)
    status = few.stat()
    with few.open("r+b") as file:
        file.seek(5000)  # between the first two samples, and sent already
        file.write(b"another")
    os.utime(few, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(errors.DigestMismatch):
        through.upload(few)
    assert list(through.list_files(few.name)) == []
    assert through.upload(few).sha256 == sha256(few)


@pytest.mark.usefixtures("small_parts")
def test_other_facts_are_another_upload(through: DatasetHubClient, few: Path, state: Path) -> None:
    stop_in_the_middle(through, few, category="a")
    info = through.upload(few, category="b")
    assert info.category == "b"
    assert len(list(state.glob("*.json"))) == 1
    assert through.upload(few, category="a").category == "a"


def test_what_the_key_depends_on(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    size = 50 * MIB

    def key(server: str = "http://a", name: str = "a", at: Path = path) -> str:
        with LocalFile(at) as file:
            return upload_journal.key_of(server, file, FileFields(name).as_json())

    def written(place: int) -> None:
        with path.open("r+b") as file:
            file.seek(place)
            file.write(b"changed")
        os.utime(path, ns=(0, 1))

    path.touch()
    os.truncate(path, size)
    os.utime(path, ns=(0, 1))
    known = {key()}
    assert key() in known
    last = size - SAMPLE
    for number in range(SAMPLES):
        written(last * number // (SAMPLES - 1))
        assert key() not in known
        known.add(key())
    others = [key("http://b"), key(name="b")]
    os.utime(path, ns=(0, 2))
    others.append(key())
    with path.open("ab") as file:
        file.write(b"\0")
    os.utime(path, ns=(0, 2))
    others.append(key())
    path.rename(tmp_path / "b.bin")
    others.append(key(at=tmp_path / "b.bin"))
    assert len(known | set(others)) == SAMPLES + 1 + len(others)


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("how", ["a file", "no home", "a device"])
def test_without_a_place_for_states_uploads_work(
    through: DatasetHubClient, few: Path, state: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    if how == "a file":
        state.parent.mkdir()
        state.write_bytes(b"")
    elif how == "no home":
        monkeypatch.setenv("XDG_STATE_HOME", "relative")
        monkeypatch.setenv("HOME", "/proc/nothing")
    else:
        monkeypatch.setenv("XDG_STATE_HOME", "/dev/null/x")
    assert through.upload(few).sha256 == sha256(few)


@pytest.mark.usefixtures("small_parts")
def test_paths_that_are_no_text(through: DatasetHubClient, tmp_path: Path, state: Path) -> None:
    folder = tmp_path / os.fsdecode(b"\xff")
    folder.mkdir()
    path = folder / f"{uuid.uuid4().hex}.bin"
    path.write_bytes(os.urandom(3 * MIB))
    stop_in_the_middle(through, path)
    assert remembered(state)
    assert through.upload(path).sha256 == sha256(path)


@pytest.mark.usefixtures("small_parts")
def test_old_states_are_pruned(through: DatasetHubClient, few: Path, state: Path) -> None:
    stop_in_the_middle(through, few)
    (kept,) = state.glob("*.json")
    old = [state / name for name in ("a.json", "a.lock", "b.lock", "c.json.0.tmp")]
    for path in old:
        path.write_text("{}")
        os.utime(path, (0, 0))
    new = state / "d.json"
    new.write_text("{}")
    other = few.with_name("other.bin")
    other.write_bytes(few.read_bytes())
    through.upload(other, f"other-{few.name}")
    assert set(state.iterdir()) == {kept, kept.with_suffix(".lock"), new}


@pytest.mark.parametrize("size", ["large", "small"])
def test_an_upload_outlasts_a_restart(
    tmp_path: Path, few: Path, size: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """#6: it says at once that the hub is away, and goes on when it is back."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    if size == "large":
        monkeypatch.setattr(uploading, "PARTS_FROM", MIB)
    hubs = [start_hub(tmp_path, DSX_PORT=port)]
    away: list[str] = []

    def kill(done: int, total: int | None, name: str) -> None:
        if done > 0 and len(hubs) == 1:
            hubs[0].kill()
            hubs.append(hubs[0])

    client = DatasetHubClient(hubs[0].url, hubs[0].key, None, retries=2, notify=away.append)
    with client, ThreadPoolExecutor(1) as pool:
        sent = pool.submit(client.upload, few, if_changed=True, progress=kill)
        try:
            eventually(lambda: away or sent.done())
            hubs.append(start_hub(tmp_path, DSX_PORT=port))
            assert sent.result(60).sha256 == sha256(few.read_bytes())
            assert "Retrying for a minute" in away[0]
            assert [info.version for info in client.list_files()] == [1]
        finally:
            hubs[-1].stop()


def test_an_upload_gives_up_in_the_end(
    tmp_path: Path, few: Path, small_parts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dsx.client.http.OUTLASTED", 0.5)
    with running_hub(tmp_path) as hub:

        def kill(done: int, total: int | None, name: str) -> None:
            if done > 0 and hub.process.poll() is None:
                hub.kill()

        with (
            DatasetHubClient(hub.url, hub.key, None, retries=2) as client,
            pytest.raises(errors.Unreachable),
        ):
            client.upload(few, progress=kill)
