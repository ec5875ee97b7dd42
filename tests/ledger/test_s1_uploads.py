"""S1 (Datastore): uploads under a task, with the seed's own commands and slow clients."""

from __future__ import annotations

import random
import signal
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.digests import sha256
from tests.support.hub import RunningHub, running_hub, start_hub
from tests.support.seed import User, ended, sign_up
from tests.support.waiting import eventually

MIB = 1024**2


def noise(size: int, seed: int = 1) -> bytes:
    """Bytes that do not repeat."""
    return random.Random(seed).randbytes(size)


@pytest.fixture
def user(hub: RunningHub, tmp_path: Path) -> User:
    return sign_up(hub, tmp_path)


@pytest.fixture(scope="module")
def brief(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    """A hub that closes paused requests soon."""
    directory = tmp_path_factory.mktemp("brief")
    with running_hub(directory, DSX_PAUSE_GRACE="0.5") as hub:
        yield hub


def stored(user: User, name: str) -> bytes:
    """The bytes of the user's file of that name."""
    user.sh(
        "ID=$(curl -fsu $U -G --data-urlencode name=$N $B/api/v1/files | jq -er '.items[].id'); "
        "curl -fsu $U -o stored $B/api/v1/files/$ID/content",
        N=name,
    )
    return (user.directory / "stored").read_bytes()


@pytest.mark.ledger("S1.11")
@pytest.mark.parametrize("size", [0, 1, 3 * MIB])
def test_s1_11_upload_as_a_form(user: User, size: int) -> None:
    data = noise(size)
    user.file(f"form-{size}.bin", data)
    id_ = user.task()
    command = "curl -fsu $U -X PUT -F file=@$F $B/upload_file/$ID | jq -er .sha256"
    assert user.sh(command, ID=id_, F=f"form-{size}.bin").strip() == sha256(data)
    assert stored(user, f"form-{size}.bin") == data
    task = user.state(id_)
    assert (task["state"], task["kind"], task["done"]) == ("completed", "upload", size)
    assert task["filename"] == f"form-{size}.bin"


@pytest.mark.ledger("S1.11")
@pytest.mark.parametrize("size", [0, 1, 3 * MIB])
def test_s1_11_upload_raw(user: User, size: int) -> None:
    data = noise(size)
    user.file("a.bin", data)
    raw = "curl -fsu $U -T a.bin $B/upload_file/$ID?filename=raw-$N.bin"
    user.sh(raw, ID=user.task(), N=str(size))
    assert stored(user, f"raw-{size}.bin") == data
    named = "curl -fsu $U -T a.bin -H 'Content-Disposition: attachment; filename=\"d.bin\"' "
    user.sh(named + "$B/upload_file/$ID", ID=user.task())
    assert stored(user, "d.bin") == data
    id_ = user.task()
    user.sh("cat a.bin | curl -fsu $U -T - $B/upload_file/$ID", ID=id_)
    assert stored(user, id_) == data


def test_names_that_no_file_may_have_are_refused(user: User) -> None:
    user.file("a.bin", b"x")
    id_ = user.task()
    command = "curl -u $U -X PUT -F 'file=@a.bin;filename=../x' $B/upload_file/$ID"
    assert user.status(command, ID=id_) == 400
    user.sh("curl -fsu $U -X PUT -F file=@a.bin $B/upload_file/$ID", ID=id_)
    assert stored(user, "a.bin") == b"x"


@pytest.mark.ledger("S1.1", "S1.12", "S1.13", "S1.14", "S1.34")
def test_s1_13_s1_14_pause_and_resume(user: User) -> None:
    data = noise(12 * MIB)
    id_, curl = user.uploading(user.file("paused.bin", data))
    assert user.state(id_)["state"] == "running"
    first = user.offset(id_)
    eventually(lambda: user.offset(id_) > first)
    user.sh("curl -fsu $U -X POST $B/pause_task/$ID", ID=id_)
    time.sleep(1)
    assert user.state(id_)["state"] == "paused"
    offset = user.offset(id_)
    assert 0 < offset < len(data)
    time.sleep(3)
    assert user.offset(id_) == offset
    user.sh("curl -fsu $U -X POST $B/resume_task/$ID", ID=id_)
    eventually(lambda: user.offset(id_) > offset, 1.5)
    code, _ = ended(curl)
    assert code == 0
    assert sha256(stored(user, "paused.bin")) == sha256(data)
    assert user.state(id_)["state"] == "completed"


@pytest.mark.ledger("S1.1", "S1.13", "S1.14")
@pytest.mark.parametrize("again", ["from the offset", "from the beginning", "as a form"])
def test_s1_14_resumed_after_the_request_was_closed(
    brief: RunningHub, tmp_path: Path, again: str
) -> None:
    user = sign_up(brief, tmp_path)
    data = noise(6 * MIB)
    path = user.file("closed.bin", data)
    id_, curl = user.uploading(path)
    user.order("pause", id_)
    time.sleep(1.2)
    assert user.status("curl -u $U -T closed.bin $B/upload_file/$ID", ID=id_) == 409
    offset = user.offset(id_)
    assert 0 < offset < len(data)
    user.order("resume", id_)
    assert ended(curl)[0] != 0
    assert user.offset(id_) == offset
    command = {
        "from the offset": "curl -fsu $U -C $O -T closed.bin $B/upload_file/$ID",
        "from the beginning": "curl -fsu $U -T closed.bin $B/upload_file/$ID",
        "as a form": "curl -fsu $U -X PUT -F file=@closed.bin $B/upload_file/$ID",
    }[again]
    user.sh(command, ID=id_, O=str(offset))
    assert stored(user, "closed.bin") == data
    assert user.sh("curl -su $U $B/task/$ID | jq -r .state", ID=id_).strip() == "completed"


def test_other_bytes_than_before_are_refused(user: User) -> None:
    data = noise(6 * MIB)
    id_, curl = user.uploading(user.file("first.bin", data))
    curl.terminate()
    ended(curl)
    user.file("other.bin", noise(6 * MIB, seed=2))
    assert user.status("curl -u $U -T other.bin $B/upload_file/$ID", ID=id_) == 409
    user.file("shorter.bin", data[: 3 * MIB])
    assert user.status("curl -u $U -T shorter.bin $B/upload_file/$ID", ID=id_) == 400
    user.sh("curl -fsu $U -T first.bin $B/upload_file/$ID", ID=id_)
    assert stored(user, "first.bin") == data


def test_pieces_by_content_range(user: User) -> None:
    data = noise(3000)
    user.file("0", data[:1000])
    user.file("1", data[1000:])
    id_ = user.task()
    send = 'curl -u $U -T $P -H "Content-Range: bytes $R" $B/upload_file/$ID?filename=ranges.bin'
    for piece, wanted in [("0", "0-999/500"), ("0", "0-998/3000"), ("0", "9-1/3000"), ("0", "x")]:
        assert user.status(send, ID=id_, P=piece, R=wanted) == 400
    assert user.status(send, ID=id_, P="0", R="0-999/3000") == 202
    assert user.state(id_)["state"] == "running"
    assert user.status(send, ID=id_, P="1", R="1000-2999/4000") == 400
    assert user.status(send, ID=id_, P="1", R="1000-2999/3000") == 201
    assert stored(user, "ranges.bin") == data


@pytest.mark.ledger("S1.1", "S1.15", "S1.34")
def test_s1_15_abort(user: User) -> None:
    id_, curl = user.uploading(user.file("aborted.bin", noise(12 * MIB)))
    begun = time.monotonic()
    user.sh("curl -fsu $U -X POST $B/abort_task/$ID", ID=id_)
    code, _ = ended(curl)
    assert code != 0
    assert time.monotonic() - begun < 2.5
    assert "aborted.bin" not in user.names()
    assert user.status("curl -u $U $B/task/$ID", ID=id_) == 404


@pytest.mark.ledger("S1.17")
def test_s1_17_one_file_at_a_time(user: User) -> None:
    data = noise(6 * MIB)
    id_, curl = user.uploading(user.file("one.bin", data))
    for _ in range(3):
        assert user.status("curl -u $U -T one.bin $B/upload_file/$ID", ID=id_) == 409
        form = "curl -u $U -X PUT -F file=@one.bin $B/upload_file/$ID"
        assert user.status(form, ID=id_) == 409
    assert ended(curl)[0] == 0
    assert stored(user, "one.bin") == data
    assert user.status("curl -u $U -T one.bin $B/upload_file/$ID", ID=id_) == 409  # it is done


@pytest.mark.ledger("S1.17")
def test_s1_17_of_two_at_once_one_is_taken(user: User) -> None:
    for n in range(5):
        user.file("both.bin", noise(2 * MIB, seed=n))
        command = (
            "for i in 1 2; do curl -su $U -o /dev/null -w '%{http_code}\\n' --limit-rate 4M "
            "-T both.bin $B/upload_file/$ID?filename=both.bin & done; wait"
        )
        assert sorted(user.sh(command, ID=user.task()).split()) == ["201", "409"]
        assert stored(user, "both.bin") == noise(2 * MIB, seed=n)


@pytest.mark.ledger("S1.37")
def test_s1_37_abort_releases_everything(tmp_path: Path) -> None:
    with running_hub(tmp_path, DSX_QUOTA="40MiB") as hub:
        user = sign_up(hub, tmp_path)
        path = user.file("released.bin", noise(35 * MIB))
        user.upload("warm.txt", b"the catalog's connections are open")
        before = held(user)
        id_, curl = user.uploading(path, rate="4M")
        assert all(now > then for now, then in zip(held(user), before, strict=True))
        user.order("abort", id_)
        eventually(lambda: held(user) == before, 5)
        assert ended(curl)[0] != 0
        user.sh("curl -fsu $U -T released.bin $B/upload_file/$ID", ID=user.task())  # all the quota


def held(user: User) -> list[int]:
    """What transfers hold: descriptors, temporary bytes, locks, promises of room."""
    data, pid = user.hub.data_dir, str(user.hub.process.pid)
    catalog = sqlite3.connect(f"file:{data / 'catalog.db'}?mode=ro", uri=True)
    locks = "SELECT count(*) FROM writers"
    promised = "SELECT coalesce(sum(reserved), 0) FROM uploads WHERE state = 'open'"
    try:
        return [
            int(user.sh("ls -l /proc/$P/fd | grep -vc catalog.db", P=pid)),  # but for its pool
            int(user.sh("du -sb $D | cut -f1", D=str(data / "staging"))),
            *(catalog.execute(query).fetchone()[0] for query in (locks, promised)),
        ]
    finally:
        catalog.close()


@pytest.mark.ledger("S1.38")
def test_s1_38_paused_through_another_server(tmp_path: Path) -> None:
    shared = str(tmp_path / "shared")
    with (
        running_hub(tmp_path / "a", DSX_DATA_DIR=shared) as here,
        running_hub(tmp_path / "b", DSX_DATA_DIR=shared) as there,
    ):
        a = sign_up(here, tmp_path)
        b = replace(a, hub=there)
        data = noise(12 * MIB)
        id_, curl = b.uploading(b.file("two.bin", data))
        a.order("pause", id_)
        time.sleep(1)
        offset = b.offset(id_)
        time.sleep(1.5)
        assert a.offset(id_) == b.offset(id_) == offset < len(data)
        assert b.state(id_)["state"] == "paused"
        a.order("resume", id_)
        assert ended(curl)[0] == 0
        assert stored(a, "two.bin") == data
        id_, curl = b.uploading(b.file("three.bin", data))
        assert a.status("curl -u $U -T three.bin $B/upload_file/$ID", ID=id_) == 409
        a.order("abort", id_)
        assert ended(curl)[0] != 0
        assert b.status("curl -u $U $B/task/$ID", ID=id_) == 404


@pytest.mark.ledger("S1.43")
def test_s1_43_ctrl_c_stops_cleanly(tmp_path: Path) -> None:
    with running_hub(tmp_path) as hub:
        user = sign_up(hub, tmp_path)
        data = noise(40 * MIB)
        id_, curl = user.uploading(user.file("durable.bin", data))
        eventually(lambda: user.offset(id_) > MIB)
        offset = user.offset(id_)
        begun = time.monotonic()
        hub.process.send_signal(signal.SIGINT)
        assert hub.process.wait(10) == 0
        assert time.monotonic() - begun < 10
        assert ended(curl)[0] != 0
    hub = start_hub(tmp_path)
    try:
        user = replace(user, hub=hub)
        kept = user.offset(id_)
        assert offset <= kept < len(data)
        user.sh("curl -fsu $U -C $O -T durable.bin $B/upload_file/$ID?filename=durable.bin",
                ID=id_, O=str(kept))  # fmt: skip
        assert stored(user, "durable.bin") == data
    finally:
        hub.stop()


def test_after_a_crash_the_upload_goes_on(tmp_path: Path) -> None:
    with running_hub(tmp_path) as hub:
        user = sign_up(hub, tmp_path)
        data = noise(12 * MIB)
        id_, curl = user.uploading(user.file("crash.bin", data))
        eventually(lambda: user.offset(id_) > MIB)
        hub.kill()
        assert ended(curl)[0] != 0
    with running_hub(tmp_path) as hub:
        user = replace(user, hub=hub)
        time.sleep(3)  # so long the writer that died may count as alive
        user.sh("curl -fsu $U -T crash.bin $B/upload_file/$ID?filename=crash.bin", ID=id_)
        assert stored(user, "crash.bin") == data
