"""Downloads: slow readers cost nothing, and those who leave take nothing with them."""

from __future__ import annotations

import json
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from urllib.parse import unquote

import pytest
from tests.support.hub import RunningHub, running_hub
from tests.support.waiting import in_time
from tests.support.wire import (
    Wire,
    content,
    healthy,
    open_descriptors,
    status_value,
    wire,
)

from dsx.http.send import content_disposition

MIB = 1024**2
BIG = os.urandom(MIB) * 24
SMALL_WINDOW = 16 * 1024
READERS = 120
POOLS = 100  # threads in all the pools a server has; fewer than readers


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    """A hub of this module's own, so that its descriptors and memory can be counted."""
    with running_hub(tmp_path_factory.mktemp("downloads")) as running:
        yield running


@pytest.fixture(scope="module")
def path(quiet: RunningHub) -> str:
    location = content(quiet.store("http-big.bin", BIG))
    with wire(quiet) as client:
        assert client.ask("GET", location).body == BIG
    return location


def reset(client: Wire) -> None:
    """Leave with a RST, as a process that is killed does."""
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def at_rest(hub: RunningHub) -> int:
    """Open descriptors, once connections that were closed are gone."""
    counts = [open_descriptors(hub)]
    while in_time(lambda: open_descriptors(hub) < counts[-1], 0.3):
        counts.append(open_descriptors(hub))
    return counts[-1]


def take(hub: RunningHub, path: str, field: str) -> None:
    """Many answers at once, all read."""
    with ExitStack() as stack:
        readers = [stack.enter_context(wire(hub)) for _ in range(READERS)]
        for reader in readers:
            reader.send(reader.head("GET", path, field))
        for reader in readers:
            assert reader.answer().status == 206


def test_stalled_readers_cost_no_thread_and_no_memory(quiet: RunningHub, path: str) -> None:
    take(quiet, path, "Range: bytes=0-99999")  # the pools are full now
    memory = status_value(quiet, "VmRSS")
    idle = at_rest(quiet)
    with ExitStack() as stack:
        readers = [stack.enter_context(wire(quiet, SMALL_WINDOW)) for _ in range(READERS)]
        for reader in readers:
            reader.send(reader.head("GET", path))
        for reader in readers:
            assert reader.socket.recv(100)
        assert in_time(lambda: open_descriptors(quiet) >= idle + 2 * READERS)
        assert all(healthy(quiet) for _ in range(5))
        with wire(quiet) as client:
            assert client.ask("GET", path).body == BIG
        assert status_value(quiet, "Threads") < POOLS
        assert status_value(quiet, "VmRSS") - memory < READERS * 200  # KiB
    assert in_time(lambda: open_descriptors(quiet) <= idle)


def test_a_slow_reader_gets_every_byte(quiet: RunningHub, path: str) -> None:
    with wire(quiet, SMALL_WINDOW) as client:
        start = len(BIG) - 3 * MIB - 1
        assert client.ask("GET", path, f"Range: bytes={start}-").body == BIG[start:]
        assert client.ask("GET", "/health").status == 200


@pytest.mark.parametrize("fields", [[], ["Range: bytes=0-9000000,10000000-"]])
@pytest.mark.parametrize("leave", [Wire.close, reset])
def test_leaving_in_the_middle_leaks_nothing(
    quiet: RunningHub, path: str, fields: list[str], leave: object
) -> None:
    assert callable(leave)
    assert healthy(quiet)
    idle = at_rest(quiet)
    for _ in range(10):
        client = Wire(quiet, SMALL_WINDOW)
        client.send(client.head("GET", path, *fields))
        client.socket.recv(5000)
        leave(client)
    assert in_time(lambda: open_descriptors(quiet) <= idle)
    assert healthy(quiet)


def test_leaving_before_the_answer_leaks_nothing(quiet: RunningHub, path: str) -> None:
    idle = at_rest(quiet)
    for _ in range(20):
        client = Wire(quiet)
        client.send(client.head("GET", path))
        reset(client)
    assert healthy(quiet)
    assert in_time(lambda: open_descriptors(quiet) <= idle)


def test_leavers_are_no_failures_of_the_server(quiet: RunningHub, path: str) -> None:
    client = Wire(quiet, SMALL_WINDOW)
    client.send(client.head("GET", path))
    client.socket.recv(5000)
    reset(client)
    assert healthy(quiet)
    log = quiet.log.read_text()
    assert "Traceback" not in log
    assert "unforeseen" not in log


def test_pipelined_downloads(quiet: RunningHub, path: str) -> None:
    with wire(quiet) as client:
        ranges = [(0, 99), (100, 5_000_000), (7, 7), (3_000_000, 9_000_000)]
        client.send(b"".join(client.head("GET", path, f"Range: bytes={a}-{b}") for a, b in ranges))
        for first, last in ranges:
            answer = client.answer()
            assert (answer.status, answer.body) == (206, BIG[first : last + 1])


def test_large_parts_of_a_multipart_answer(quiet: RunningHub, path: str) -> None:
    with wire(quiet) as client:
        answer = client.ask("GET", path, "Range: bytes=0-4999999,6000000-6000009,-3000000")
        assert answer.status == 206
        assert BIG[:5_000_000] in answer.body
        assert answer.body.count(b"Content-Range: ") == 3
        assert BIG[-3_000_000:] in answer.body
        assert client.ask("GET", "/health").status == 200


def test_a_client_of_http_1_0_gets_the_bytes_and_the_end(quiet: RunningHub, path: str) -> None:
    with wire(quiet) as client:
        client.send(client.head("GET", path).replace(b"HTTP/1.1", b"HTTP/1.0", 1))
        assert client.answer().body == BIG
        assert client.ended()


def test_a_file_that_lost_bytes_is_not_sent(quiet: RunningHub) -> None:
    """Not even what is left of it, and the next request finds a hub that works."""
    record = quiet.store("http-damaged.bin", os.urandom(MIB))
    digest = record["sha256"]
    blob = quiet.data_dir / "blobs" / digest[:2] / digest
    blob.chmod(0o600)
    with blob.open("r+b") as file:
        file.truncate(300_000)
    with wire(quiet) as client:
        answer = client.ask("GET", content(record))
        assert answer.status == 410
        assert json.loads(answer.body)["code"] == "damaged"
    assert healthy(quiet)


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("plain.txt", "plain.txt"),
        ("two words;semi.txt", "two words;semi.txt"),
        ("größe.csv", "gr__e.csv"),
        ("日本語.csv", "___.csv"),
        ("emoji 🎉.png", "emoji _.png"),
        ("שלום.txt", "____.txt"),
        ("per%cent.txt", "per_cent.txt"),
        ("apo'strophe.txt", "apo'strophe.txt"),
    ],
)
def test_the_name_to_save_under(quiet: RunningHub, name: str, plain: str) -> None:
    record = quiet.store(name, b"x")
    field = quiet.get(content(record)).headers["content-disposition"]
    parameters = field.removeprefix('attachment; filename="')
    ascii_name, _, extended = parameters.partition('"')
    assert ascii_name == plain
    if plain == name:
        assert extended == ""
    else:
        assert unquote(extended.removeprefix("; filename*=UTF-8''"), errors="strict") == name
        assert extended.isascii()


def test_a_name_stays_within_its_quotes() -> None:
    """Names that were stored before such were refused."""
    assert content_disposition('quo"te\\.txt') == (
        "attachment; filename=\"quo_te_.txt\"; filename*=UTF-8''quo%22te%5C.txt"
    )
