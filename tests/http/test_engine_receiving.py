from __future__ import annotations

import hashlib
import json
import random
import resource
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.requests import ClientDisconnect
from tests.http.engine import (
    MIB,
    Engine,
    parse,
    read_all,
    read_response,
    running_engine,
    wait_until,
)

from dsx.core.errors import TimedOut
from dsx.transport import protocol
from dsx.transport.protocol import DSXProtocol
from dsx.transport.settings import ConnectionSettings

DATA = random.Random(7).randbytes(5 * MIB + 12_345)
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with running_engine(tmp_path_factory.mktemp("engine"), size=1000) as running:
        yield running


def _post(path: str, *headers: str) -> bytes:
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: x", *headers, "", ""]).encode()


def _received(response: tuple[int, dict[str, str], bytes]) -> tuple[int, str]:
    assert response[0] == 200, response
    record = json.loads(response[2])
    return record["size"], record["sha256"]


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_537, 262_144, 262_145, MIB, 3 * MIB + 1])
def test_bodies_of_any_size_arrive_and_the_next_request_is_not_eaten(
    engine: Engine, size: int
) -> None:
    body = DATA[:size]
    request = _post("/upload", f"Content-Length: {size}") + body
    following = _post("/body", "Content-Length: 4") + b"next"
    with engine.connect() as connection:
        connection.sendall(request + following + request + following)
        for _ in range(2):
            received = _received(read_response(connection))
            assert received == (size, hashlib.sha256(body).hexdigest())
            assert read_response(connection)[2] == b"next"


def test_a_trickled_body_arrives(engine: Engine) -> None:
    rng = random.Random(3)
    request = _post("/upload", f"Content-Length: {len(DATA)}") + DATA
    with engine.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in request[:60]:
            connection.sendall(bytes([byte]))
        position = 60
        while position < len(request):
            step = rng.choice([1, 7, 1000, 70_000, 300_000, 900_000])
            connection.sendall(request[position : position + step])
            position += step
            time.sleep(0.0005)
        assert _received(read_response(connection)) == (len(DATA), SHA256)


def test_a_chunked_body_arrives(engine: Engine) -> None:
    rng = random.Random(4)
    with engine.connect() as connection:
        connection.sendall(_post("/upload", "Transfer-Encoding: chunked"))
        position = 0
        while position < len(DATA):
            chunk = DATA[position : position + rng.choice([1, 100, 65_536, 500_000])]
            connection.sendall(b"%x\r\n%b\r\n" % (len(chunk), chunk))
            position += len(chunk)
        connection.sendall(b"0\r\n\r\n" + _post("/body", "Content-Length: 4") + b"next")
        assert _received(read_response(connection)) == (len(DATA), SHA256)
        assert read_response(connection)[2] == b"next"


def test_continue_is_said_when_the_body_is_wanted(engine: Engine) -> None:
    head = ["Expect: 100-continue", f"Content-Length: {len(DATA)}"]
    with engine.connect() as connection:
        connection.sendall(_post("/upload", *head))
        assert connection.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(DATA)
        assert _received(read_response(connection)) == (len(DATA), SHA256)
    response = engine.exchange(_post("/refuse", *head))
    assert parse(response)[0] == 413


@pytest.mark.parametrize("path", ["/refuse", "/limited"])
@pytest.mark.parametrize("framing", ["Content-Length: 20000000", "Transfer-Encoding: chunked"])
def test_an_early_refusal_reaches_a_client_that_goes_on_sending(
    engine: Engine, path: str, framing: str
) -> None:
    chunked = "chunked" in framing
    block = b"%x\r\n%b\r\n" % (MIB, DATA[:MIB]) if chunked else DATA[:MIB]
    with engine.connect() as connection:
        connection.sendall(_post(path, framing))
        for _ in range(19):  # the answer is not read until all of this is sent
            connection.sendall(block)
        status, headers, _ = parse(read_all(connection))
        assert (status, headers["connection"]) == (413, "close")


@pytest.mark.parametrize("framing", [f"Content-Length: {len(DATA)}", "Transfer-Encoding: chunked"])
@pytest.mark.parametrize("sent", [0, 1000, 3 * MIB])
def test_a_client_that_leaves_in_the_middle_is_a_clear_failure(
    engine: Engine, framing: str, sent: int
) -> None:
    with engine.connect() as connection:
        connection.sendall(_post("/upload", framing))
        if "chunked" in framing:
            connection.sendall(b"%x\r\n" % len(DATA))
        connection.sendall(DATA[:sent])
    assert engine.outcome() is ClientDisconnect


def test_a_slow_disk_holds_the_sender_back(tmp_path: Path) -> None:
    with running_engine(tmp_path, size=1) as engine, engine.connect() as connection:
        engine.write_delay = 0.05
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        connection.sendall(_post("/upload", f"Content-Length: {200 * MIB}"))
        sender = threading.Thread(target=_send_quietly, args=(connection, 200))
        sender.start()
        time.sleep(1)
        assert engine.written < 60 * MIB
        assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) * 1024 < 32 * MIB
        connection.shutdown(socket.SHUT_RDWR)
        sender.join()
        assert engine.outcome() is ClientDisconnect


def test_a_stalled_sender_gets_408(tmp_path: Path) -> None:
    class Impatient(DSXProtocol):
        defaults = ConnectionSettings(stall_timeout=0.4)

    with running_engine(tmp_path, size=1, protocol=Impatient) as engine:
        for framing in (f"Content-Length: {len(DATA)}", "Content-Length: 10"):
            with engine.connect() as connection:
                connection.sendall(_post("/upload", framing) + b"begin")
                for _ in range(4):  # slow is not stalled
                    time.sleep(0.2)
                    connection.sendall(b"x")
                begun = time.monotonic()
                status, headers, _ = parse(read_all(connection))
                assert (status, headers["connection"]) == (408, "close")
                assert time.monotonic() - begun < 4
            assert engine.outcome() is TimedOut


def test_a_head_that_does_not_come_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.5)
    with running_engine(tmp_path, size=1) as engine:
        for beginning, drop in (
            (b"", b""),
            (b"\r\n", b"\r\n"),
            (b"GET /fi", b"x"),
            (b"GET /file HTTP/1.1\r\nHost: x\r\n", b"x"),
        ):
            with engine.connect() as connection:
                begun = time.monotonic()
                connection.sendall(beginning)
                assert 0.3 < _drip(connection, drop) - begun < 3


def test_the_deadline_of_heads_spares_those_who_wait_for_an_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.2)
    with running_engine(tmp_path, size=1) as engine, engine.connect() as connection:
        engine.write_delay = 0.8
        connection.sendall(_post("/upload", "Content-Length: 4") + b"data")
        assert _received(read_response(connection))[0] == 4


def test_many_uploads_at_once_are_kept_apart(engine: Engine) -> None:
    bodies = [random.Random(n).randbytes(600_000 + n) for n in range(24)]
    connections = [engine.connect() for _ in bodies]
    for connection, body in zip(connections, bodies, strict=True):
        connection.sendall(_post("/upload", f"Content-Length: {len(body)}") + body[:300_000])
    for connection, body in zip(connections, bodies, strict=True):
        connection.sendall(body[300_000:])
    for connection, body in zip(connections, bodies, strict=True):
        with connection:
            expected = (len(body), hashlib.sha256(body).hexdigest())
            assert _received(read_response(connection)) == expected


def test_connections_leave_no_descriptors_behind(engine: Engine) -> None:
    wait_until(lambda: not engine.server.server_state.connections)
    before = _descriptors()
    for sent in (0, 100, 300_000, len(DATA)):
        for _ in range(10):
            with engine.connect() as connection:
                connection.sendall(_post("/upload", f"Content-Length: {len(DATA)}") + DATA[:sent])
    wait_until(lambda: not engine.server.server_state.connections)
    wait_until(lambda: _descriptors() <= before)
    engine.outcomes.clear()


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def _send_quietly(connection: socket.socket, count: int) -> None:
    try:
        for _ in range(count):
            connection.sendall(DATA[:MIB])
    except OSError:
        return


def _drip(connection: socket.socket, drop: bytes) -> float:
    """Send *drop* now and then until the server cuts the connection; when it did."""
    connection.settimeout(0.1)
    while True:
        try:
            connection.sendall(drop)
            if not connection.recv(100):
                return time.monotonic()
        except TimeoutError:
            continue
        except OSError:
            return time.monotonic()
