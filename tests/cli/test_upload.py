"""``dsx upload`` of several files: names, failures of single ones, interrupts and going on."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from tests.support.commands import Commands, ended, lines
from tests.support.corrupting import Faults, Proxy
from tests.support.hub import RunningHub
from tests.support.waiting import eventually

from dsx import DatasetHubClient
from dsx.core.digest import digest_of

MIB = 1 << 20
LARGE = 40 * MIB
"""Sent in three parts."""

WORKERS = 8
"""So many small files are sent at once."""


@pytest.fixture
def client(hub: RunningHub) -> DatasetHubClient:
    return DatasetHubClient(hub.url, hub.key, None)


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """A directory with a name of its own, below the one that commands run in."""
    path = tmp_path / f"top-{uuid.uuid4().hex}"
    path.mkdir()
    return path


def fill(top: Path, *names: str) -> dict[str, bytes]:
    """Files in *top*; their contents by the names they should be stored under."""
    contents = {}
    for name in names:
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = f"{name} in {top}".encode()
        path.write_bytes(data)
        contents[f"{top.name}/{name}"] = data
    return contents


def large(path: Path) -> bytes:
    data = random.Random(str(path)).randbytes(LARGE)
    path.write_bytes(data)
    return data


def stored(client: DatasetHubClient, top: Path) -> dict[str, bytes]:
    """What is stored below the name of *top*."""
    return {info.name: client.download_bytes(info) for info in client.list_files(f"{top.name}/**")}


def versions(client: DatasetHubClient, top: Path) -> dict[str, int]:
    return {info.name: info.version for info in client.list_files(f"{top.name}/**")}


def posted(proxy: Proxy) -> int:
    """How many files were sent in one request."""
    return len([line for line, _ in proxy.faults.asked if line.startswith("POST /api/v1/files?")])


def sent(proxy: Proxy) -> int:
    return sum(length for _, length in proxy.faults.parts())


def left_over(dsx: Commands) -> list[str]:
    return [path.name for path in dsx.state.rglob("*") if path.is_file()]


def received(client: DatasetHubClient, id_: str) -> int:
    """How much of an upload is there, once nobody is writing any more."""
    seen = [-1, client.tasks.get(id_).done]
    while seen[-1] != seen[-2]:
        time.sleep(0.4)
        seen.append(client.tasks.get(id_).done)
    return seen[-1]


def stopped(
    proxy: Proxy, start: Callable[[], subprocess.Popen[bytes]], after: int, number: int, code: int
) -> str:
    """What a command told that got the signal *number* once *after* bytes had passed."""
    proxy.faults = faults = Faults(hang_after=after)
    process = start()
    eventually(lambda: faults.fired)
    process.send_signal(number)
    with contextlib.suppress(subprocess.TimeoutExpired):  # if it wants to tell the server
        process.wait(3)
    proxy.faults = Faults()
    faults.resume()
    told = ended(process, code).stderr.decode()
    proxy.faults = Faults()
    return told


def test_a_directory_keeps_its_names(dsx: Commands, client: DatasetHubClient, top: Path) -> None:
    names = ["a.txt", "sub/b.txt", "sub/deeper/c d ü.txt", ".hidden", "[x].txt"]
    contents = fill(top, *names)
    (top / "empty").touch()
    (top / "link").symlink_to("a.txt")
    (top / "other").symlink_to("sub", target_is_directory=True)
    os.mkfifo(top / "pipe")
    contents |= {f"{top.name}/empty": b"", f"{top.name}/link": contents[f"{top.name}/a.txt"]}
    done = dsx("upload", "-r", top.name, "--tag", "t", "--category", "c", "--meta", "n=1")
    assert stored(client, top) == contents
    told = f"{len(contents)} files: {len(contents)} stored, 0 unchanged, 0 failed"
    assert told in done.stderr.decode()
    assert len(done.stdout.splitlines()) == len(contents)
    for info in client.list_files(f"{top.name}/**"):
        assert (info.tags, info.category, info.metadata) == (["t"], "c", {"n": 1})
    assert left_over(dsx) == []


@pytest.mark.parametrize("given", ["{0}/", "./{0}", "{1}"])
def test_a_directory_is_named_the_same_however_it_is_given(
    dsx: Commands, client: DatasetHubClient, top: Path, given: str
) -> None:
    contents = fill(top, "a", "b/c")
    (top / "d").mkdir()
    dsx("upload", "-r", given.format(top.name, top))
    assert stored(client, top) == contents


def test_patterns(dsx: Commands, top: Path) -> None:
    fill(top, "one.csv", "deep/er/two.csv", "three.txt", "[4].csv", "4.csv")
    flat = lines(dsx("upload", f"{top.name}/*.csv", "--json"))
    assert {item["name"] for item in flat} == {"one.csv", "[4].csv", "4.csv"}
    deep = lines(dsx("upload", f"{top}/**/*o*.csv", "--json"))
    assert {item["name"] for item in deep} == {"one.csv", "two.csv"}
    (literal,) = lines(dsx("upload", f"{top.name}/[4].csv", "--json"))
    assert literal["name"] == "[4].csv"


def test_json_is_a_line_a_file_and_nothing_else(dsx: Commands, top: Path) -> None:
    contents = fill(top, *(f"{number}" for number in range(20)))
    done = dsx("--json", "upload", "-r", top.name)
    assert {item["name"]: item["sha256"] for item in lines(done)} == {
        name: digest_of(data) for name, data in contents.items()
    }
    assert done.stderr == b""


def test_what_is_refused_before_anything_is_sent(dsx: Commands, proxy: Proxy, top: Path) -> None:
    fill(top, "a", "b/a")
    server = ("--server", proxy.url)
    assert b"use -r" in dsx("upload", top.name, *server, code=2).stderr
    assert b"no-such*" in dsx("upload", "no-such*", *server, code=3).stderr
    (top / "c").touch()
    both, two = [f"{top.name}/a", f"{top.name}/b/a"], [f"{top.name}/a", f"{top.name}/c"]
    assert b"both be stored as 'a'" in dsx("upload", *both, *server, code=2).stderr
    assert b"single file" in dsx("upload", "-r", top.name, "--name", "x", *server, code=2).stderr
    assert b"single file" in dsx("upload", *two, "--name", "x", *server, code=2).stderr
    assert b"--name" in dsx("upload", "-", f"{top.name}/a", *server, code=2).stderr
    assert proxy.faults.asked == []


def test_one_bad_file_among_many(dsx: Commands, client: DatasetHubClient, top: Path) -> None:
    contents = fill(top, *(f"{number}" for number in range(10)))
    (top / "dangling").symlink_to("nowhere")
    done = dsx("upload", "-r", top.name, code=3)
    assert f"{top.name}/dangling: No such file" in done.stderr.decode()
    assert b"11 files: 10 stored, 0 unchanged, 1 failed" in done.stderr
    assert stored(client, top) == contents
    (top / "nowhere").write_bytes(b"now there")
    done = dsx("upload", "-r", top.name, "--json")  # goes on: nothing is stored twice
    assert len(lines(done)) == 12
    assert set(versions(client, top).values()) == {1}
    assert left_over(dsx) == []


def test_a_directory_that_cannot_be_read_is_skipped(
    dsx: Commands, client: DatasetHubClient, top: Path
) -> None:
    """#5: as a file that cannot be read. Not even root can read one whose path is too long."""
    contents = fill(top, "a", "z/b")
    place = os.open(top, os.O_RDONLY)
    for _ in range(20):
        os.mkdir("d" * 250, dir_fd=place)
        below = os.open("d" * 250, os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = below
    os.close(place)
    told = dsx("upload", "-r", top.name, code=1).stderr
    assert b"File name too long" in told
    assert b"2 stored" in told
    assert stored(client, top) == contents


def test_what_is_left_out_of_a_directory_is_told(dsx: Commands, top: Path) -> None:
    """#18: on standard error, and not without end."""
    fill(top, "a", "sub/b")
    (top / "dirlink").symlink_to("sub", target_is_directory=True)
    os.mkfifo(top / "pipe")
    (top / "none").mkdir()
    told = dsx("upload", "-r", top.name).stderr.decode()
    for what in ("dirlink (a link to a directory)", "pipe (a pipe)", "none (an empty directory)"):
        assert f"dsx: left out: {top.name}/{what}\n" in told
    for number in range(30):
        (top / f"none{number}").mkdir()
    told = dsx("upload", "-r", top.name).stderr.decode()
    assert told.count("left out:") == 21
    assert "left out: 13 more" in told


def test_names_that_are_refused_say_why(dsx: Commands, client: DatasetHubClient, top: Path) -> None:
    """#19: and how to go on."""
    reasons = {
        "a:b": "Windows does not allow :",
        "a|b": "Windows does not allow |",
        "con": "it is a Windows device",
    }
    reasons |= {"a\\b": "a backslash", "x.": "dot or space"}
    contents = fill(top, "good")
    for name, why in reasons.items():
        fill(top, name)
        told = dsx("upload", f"{top.name}/{name}", code=2).stderr.decode()
        assert why in told
        assert "--name" in told
    told = dsx("upload", "-r", top.name, code=2).stderr.decode()
    assert all(why in told for why in reasons.values())
    assert "dsx: 5 files have names that cannot be stored: rename them" in told
    assert stored(client, top) == contents


def test_an_interrupt_while_it_begins_is_one_line(bare: Commands) -> None:
    """#31: from the first instruction on, here while modules are loaded."""
    (bare.directory / "typer.py").write_text(
        "import sys, time\nprint('loading', flush=True)\ntime.sleep(60)\n"
    )
    process = bare.start("upload", "x", PYTHONPATH=str(bare.directory))
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert ended(process, 130).stderr == b"dsx: interrupted\n"


def test_an_interrupt_before_anything_is_sent_is_one_line(
    through: Commands, proxy: Proxy, top: Path
) -> None:
    fill(top, "a")
    proxy.faults = faults = Faults(hang_after=0)
    process = through.start("upload", f"{top.name}/a")
    eventually(lambda: faults.fired)
    process.send_signal(signal.SIGINT)
    assert ended(process, 130).stderr == b"dsx: interrupted\n"


def test_an_interrupt_promises_no_more_than_it_keeps(
    through: Commands, proxy: Proxy, client: DatasetHubClient, top: Path
) -> None:
    """#32: with --always nobody knows of a file whose answer has not come."""
    fill(top, *(f"{number}" for number in range(20)))
    proxy.faults = faults = Faults(hang_after_replies=1)
    process = through.start("upload", "-r", "--always", top.name)
    eventually(lambda: posted(proxy) == WORKERS)
    process.send_signal(signal.SIGINT)
    assert ended(process, 130).stderr == b"dsx: interrupted\n"
    faults.resume()
    eventually(lambda: len(versions(client, top)) == WORKERS)
    proxy.faults = Faults()
    start = partial(through.start, "upload", "-r", "--always", top.name)
    proxy.faults = faults = Faults(hang_after=2 * WORKERS * 300)
    process = start()
    eventually(lambda: faults.fired)
    process.send_signal(signal.SIGINT)
    told = ended(process, 130).stderr.decode()
    faults.resume()
    proxy.faults = Faults()
    (journal,) = through.state.rglob("*.jsonl")
    kept = len(journal.read_bytes().splitlines())
    assert f"resume from {5 * kept} %" in told or not kept
    through("upload", "-r", "--always", top.name)
    assert posted(proxy) == 20 - kept


def test_failures_in_json(dsx: Commands, client: DatasetHubClient, top: Path) -> None:
    fill(top, "a", "b", "c")
    client.upload(b"before", f"{top.name}/b")
    done = dsx("upload", "-r", top.name, "--if-absent", "--json", code=5)
    found = {item.get("name") or item["path"]: item for item in lines(done)}
    assert set(found) == {f"{top.name}/a", f"{top.name}/b", f"{top.name}/c"}
    assert found[f"{top.name}/b"]["code"] == 5
    assert "already exists" in found[f"{top.name}/b"]["error"]
    assert stored(client, top)[f"{top.name}/b"] == b"before"


def test_without_a_server_or_a_key_it_ends_at_once(dsx: Commands, top: Path) -> None:
    fill(top, *(f"{number}" for number in range(50)))
    done = dsx("upload", "-r", top.name, DSX_API_KEY="wrong", code=4)
    assert b"(50 of 50 files were not stored)" in done.stderr
    assert done.stderr.count(b"DSX_API_KEY") == 1
    assert left_over(dsx) == []


def test_a_second_run_goes_on(
    through: Commands, proxy: Proxy, client: DatasetHubClient, top: Path
) -> None:
    """After a crash: what is stored is left out, of the large file only the rest is sent."""
    contents = fill(top, *(f"{number}" for number in range(12)))
    contents[f"{top.name}/large"] = large(top / "large")
    start = partial(through.start, "upload", "-r", top.name)
    stopped(proxy, start, 25 * MIB, signal.SIGKILL, -signal.SIGKILL)
    (upload,) = (task for task in client.tasks.list() if task.name == f"{top.name}/large")
    kept = received(client, upload.id)
    assert kept > 10 * MIB
    done = through("upload", "-r", top.name, "--json")
    assert len(lines(done)) == 13
    assert (posted(proxy), sent(proxy)) == (0, LARGE - kept)
    assert stored(client, top) == contents
    assert set(versions(client, top).values()) == {1}
    assert left_over(through) == []


def test_an_interrupt_tells_how_to_go_on(
    through: Commands, proxy: Proxy, client: DatasetHubClient, top: Path
) -> None:
    contents = fill(top, "a", "b")
    contents[f"{top.name}/large"] = large(top / "large")
    start = partial(through.start, "upload", "-r", top.name)
    told = stopped(proxy, start, 25 * MIB, signal.SIGINT, 130)
    assert told.startswith("dsx: interrupted; run the same command again to resume from ")
    assert told.count("\n") == 1
    assert 40 <= int(told.split()[-2]) < 100
    through("upload", "-r", top.name)
    assert posted(proxy) == 0
    assert 0 < sent(proxy) < LARGE
    assert stored(client, top) == contents
    assert set(versions(client, top).values()) == {1}


@pytest.mark.parametrize("kind", ["large", "small"])
def test_an_interrupt_does_not_wait_for_a_silent_network(
    through: Commands, proxy: Proxy, client: DatasetHubClient, top: Path, kind: str
) -> None:
    contents = fill(top, *(f"{number:03}" for number in range(100)))
    if kind == "large":
        contents[f"{top.name}/large"] = large(top / "large")
    proxy.faults = faults = Faults(hang_after=25 * MIB if kind == "large" else 25_000)
    process = through.start("upload", "-r", top.name)
    eventually(lambda: faults.fired)
    pressed = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert b"run the same command again" in ended(process, 130).stderr
    assert time.monotonic() - pressed < 6
    faults.resume()
    through("upload", "-r", top.name)
    assert stored(client, top) == contents


def test_an_interrupt_without_resume_leaves_nothing(
    through: Commands, proxy: Proxy, client: DatasetHubClient, top: Path
) -> None:
    large(top / "large")
    start = partial(through.start, "upload", f"{top.name}/large", "--name", top.name, "--no-resume")
    assert "resume from" not in stopped(proxy, start, 25 * MIB, signal.SIGINT, 130)
    (task,) = (task for task in client.tasks.list() if task.name == top.name)
    assert task.state == "aborted"
    assert left_over(through) == []


def test_what_changed_between_two_runs_is_stored_again(
    dsx: Commands, client: DatasetHubClient, top: Path
) -> None:
    contents = fill(top, "same", "changed", "deleted")
    (top / "bad").symlink_to("nowhere")
    dsx("upload", "-r", top.name, code=3)
    (top / "changed").write_bytes(b"new")
    contents[f"{top.name}/changed"] = b"new"
    client.delete(f"{top.name}/deleted")
    (top / "bad").unlink()
    dsx("upload", "-r", top.name)
    assert stored(client, top) == contents
    assert versions(client, top)[f"{top.name}/same"] == 1
    dsx("upload", "-r", top.name, "--always")
    assert versions(client, top)[f"{top.name}/same"] == 2


def test_other_commands_have_journals_of_their_own(
    dsx: Commands, client: DatasetHubClient, top: Path
) -> None:
    fill(top, "a", "b")
    (top / "bad").symlink_to("nowhere")
    dsx("upload", "-r", top.name, "--always", code=3)
    dsx("upload", "-r", top.name, "--always", "--category", "other", code=3)
    assert set(versions(client, top).values()) == {2}
    dsx("upload", "-r", top.name, "--always", "--no-resume", code=3)
    assert set(versions(client, top).values()) == {3}
    dsx("upload", "-r", top.name, "--always", code=3)
    assert set(versions(client, top).values()) == {3}


def test_a_journal_cut_off_in_a_line(dsx: Commands, client: DatasetHubClient, top: Path) -> None:
    fill(top, "a", "b", "c")
    (top / "bad").symlink_to("nowhere")
    dsx("upload", "-r", top.name, "--always", code=3)
    (journal,) = dsx.state.rglob("*.jsonl")
    journal.write_bytes(journal.read_bytes()[:-5])
    dsx("upload", "-r", top.name, "--always", code=3)
    assert sorted(versions(client, top).values()) == [1, 1, 2]
    dsx("upload", "-r", top.name, "--always", code=3)
    assert sorted(versions(client, top).values()) == [1, 1, 2]


def test_instant(through: Commands, proxy: Proxy, top: Path) -> None:
    large(top / "large")
    through("upload", f"{top.name}/large", "--name", f"{top.name}-1")
    assert sent(proxy) == LARGE
    proxy.faults = Faults()
    (info,) = lines(
        through("upload", f"{top.name}/large", "--name", f"{top.name}-2", "--instant", "--json")
    )
    assert (info["size"], info["version"]) == (LARGE, 1)
    assert proxy.faults.sent < MIB


def test_an_interrupt_of_small_files(
    through: Commands, proxy: Proxy, client: DatasetHubClient, top: Path
) -> None:
    """Those on their way, whose answers were not heard, may get a second version; no others."""
    contents = fill(top, *(f"{number:03}" for number in range(200)))
    start = partial(through.start, "upload", "-r", top.name)
    stopped(proxy, start, 40_000, signal.SIGINT, 130)
    before = len(versions(client, top))
    through("upload", "-r", top.name)
    assert 0 < before < 200
    twice = [name for name, version in versions(client, top).items() if version > 1]
    assert len(twice) <= WORKERS
    assert posted(proxy) <= 200 - before + WORKERS
    assert stored(client, top) == contents
