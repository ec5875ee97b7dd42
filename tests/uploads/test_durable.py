"""What is acknowledged is on the disk: seen from outside, by the system calls of the server."""

from __future__ import annotations

import hashlib
import os
import re
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from tests.support.apt import need
from tests.support.hub import RunningHub, running_hub, start_hub
from tests.support.wire import content, wire
from tests.uploads.conftest import noise
from tests.uploads.speakers import SPEAKERS, Native, Rufh, Speaker, Tus

MIB = 1024**2
WRITE = re.compile(r"pwrite64\(\d+<[^>]*/staging/")
SYNC = re.compile(r"fdatasync\(\d+<[^>]*/staging/")
RECORD = re.compile(r"(fsync|fdatasync)\(\d+<[^>]*catalog\.db-wal>")
ANSWER = re.compile(r'(sendto|write|sendmsg)\(\d+<(socket|TCP)[^"]*"HTTP/1\.1 2\d\d')


@contextmanager
def traced(hub: RunningHub, log: Path) -> Iterator[None]:
    """The server's writes, syncs and answers in *log*, in the order in which they happened."""
    need("strace")
    calls = "pwrite64,fsync,fdatasync,sendto,sendmsg,write"
    command = ["strace", "-f", "-y", "-s", "40", "-e", f"trace={calls}", "-o", log, "-p"]
    with subprocess.Popen([*command, str(hub.process.pid)], stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        assert b"attached" in process.stderr.readline()
        try:
            yield
            time.sleep(0.3)
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    with running_hub(tmp_path_factory.mktemp("durable")) as hub:
        yield hub


def ended_calls(lines: list[str]) -> Iterator[str]:
    """Calls in the order in which they returned; answers in that in which they were made."""
    begun: dict[str, str] = {}
    for line in lines:
        process = line.split()[0]
        if "resumed>" in line:
            yield begun.pop(process, line)
        elif "<unfinished" in line and not ANSWER.search(line):
            begun[process] = line
        else:
            yield line


@pytest.mark.parametrize("kind", SPEAKERS)
def test_sync_before_every_answer(alone: RunningHub, kind: type[Speaker], tmp_path: Path) -> None:
    data = noise(4 * MIB)
    log = tmp_path / "strace"
    speaker = kind(alone, f"durable-{kind.__name__}", len(data))
    speaker.create()
    with traced(alone, log):
        for start in range(0, len(data), MIB):
            assert speaker.append(start, data[start : start + MIB]).ok
        speaker.finish()
    answers = 0
    written = synced = recorded = False
    for line in ended_calls(log.read_text(errors="replace").splitlines()):
        if WRITE.search(line):
            written, synced, recorded = True, False, False
        elif SYNC.search(line):
            synced = written
        elif RECORD.search(line):
            recorded = synced
        elif ANSWER.search(line) and written:
            assert synced, "answered before the bytes were on the disk"
            assert recorded, "answered before their record was on the disk"
            answers += 1
            written = False
    assert answers == 4


def test_an_unclean_disk_is_seen(alone: RunningHub, tmp_path: Path) -> None:
    """The check above can fail: a server that answers at once does not pass it."""
    text = 'pwrite64(9</x/staging/1>, "a"...\nsendto(7<socket:[1]>, "HTTP/1.1 204 No"...\n'
    lines = text.splitlines()
    assert WRITE.search(lines[0])
    assert ANSWER.search(lines[1])
    assert not SYNC.search(text)


@pytest.mark.skipif(os.geteuid() != 0, reason="a small disk can only be mounted by root")
@pytest.mark.parametrize("kind", [Native, Tus, Rufh])
def test_13_full_disk(kind: type[Speaker], tmp_path: Path) -> None:
    """507, the prefix is kept, and the upload goes on once there is room."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "none", disk], check=True)
    try:
        with running_hub(tmp_path, DSX_STORAGE_URL=f"file://{disk}") as hub:
            assert kind(hub, "too-big", 20 * MIB).create().status_code == 507
            ballast = disk / "ballast"
            data = noise(8 * MIB)
            speaker = kind(hub, "grows", len(data))
            assert speaker.create().status_code == 201
            ballast.write_bytes(bytes(6 * MIB))  # somebody else takes the room that was promised
            answer = speaker.append(0, data)
            assert answer.status_code == 507
            offset = speaker.offset()
            assert 0 < offset < len(data)
            ballast.unlink()
            assert speaker.append(offset, data[offset:]).ok
            record = speaker.finish()
            assert record["sha256"] == hashlib.sha256(data).hexdigest()
            assert hub.get(record["url"]).content == data
    finally:
        subprocess.run(["umount", disk], check=True)


def test_the_server_stops_in_the_middle_of_transfers(tmp_path: Path) -> None:
    """What has come is recorded, the right to write is given back, and nothing fails.

    Who has no answer yet is told to come back; who is in the middle of one sees that it is cut off.
    """
    data = noise(4 * MIB)
    hub = start_hub(tmp_path)
    speaker = Tus(hub, "stopped", len(data))
    speaker.create()
    method, path, fields = speaker.head_of(0, len(data), last=True)
    large = hub.store("large", noise(16 * MIB))
    with wire(hub) as connection, wire(hub, receive_buffer=4096) as slow:
        lines = [f"{name}: {value}" for name, value in fields.items()]
        head = connection.head(method, path, *lines, f"Content-Length: {len(data)}")
        connection.send(head + data[:MIB])
        slow.send(slow.head("GET", content(large)))
        time.sleep(0.5)
        assert hub.stop() == 0
        answer = connection.answer()
        cut = slow.answer()
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert (cut.status, len(cut.body) < int(cut.headers["content-length"])) == (200, True)
    log = hub.log.read_text()
    for trouble in ("unforeseen", "Traceback", "Exception"):
        assert trouble not in log
    with closing(sqlite3.connect(hub.data_dir / "catalog.db")) as catalog:
        assert catalog.execute("SELECT count(*) FROM writers").fetchone() == (0,)
    with running_hub(tmp_path) as again:
        speaker.hub = again
        assert speaker.offset() == MIB
        assert speaker.append(MIB, data[MIB:]).ok
        assert speaker.finish()["sha256"] == hashlib.sha256(data).hexdigest()
