"""What follows a request on its connection: other requests, trailers, garbage, an end."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.http.engine import Engine, parse, read_all, read_response, running_engine, wait_until

GET = b"GET /file HTTP/1.1\r\nHost: x\r\n\r\n"
TINY = b"GET / HTTP/1.1\r\n\r\n"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with running_engine(tmp_path_factory.mktemp("engine"), size=100_000) as running:
        running.write_delay = 0.2
        yield running


def _post(path: bytes, *fields: bytes) -> bytes:
    return b"\r\n".join([b"POST " + path + b" HTTP/1.1", b"Host: x", *fields, b"", b""])


def test_a_stream_ends_soon_after_a_reader_left_who_had_asked_for_more(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.sendall(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n" + GET)
        connection.recv(1000)
    time.sleep(0.5)
    sent = engine.streamed
    time.sleep(0.3)
    assert engine.streamed == sent


@pytest.mark.parametrize("close", [[], [b"Connection: close"]], ids=["stays", "close"])
@pytest.mark.parametrize("behind", [b"garbage\r\n\r\n", b"\x00\x01", GET[:9] + b"\xff" * 70_000])
def test_an_upload_is_answered_whatever_comes_behind_it(
    engine: Engine, close: list[bytes], behind: bytes
) -> None:
    """It was stored: to refuse what is behind it in its place would be a lie."""
    request = _post(b"/upload", b"Content-Length: 4", *close) + b"data" + behind
    status, headers, body = parse(engine.exchange(request))
    assert status == 200
    assert headers["connection"] == "close"
    assert json.loads(body)["size"] == 4


def test_garbage_behind_several_requests_is_met_after_their_answers(engine: Engine) -> None:
    upload = _post(b"/upload", b"Content-Length: 4") + b"data"
    answers = engine.exchange(upload + GET * 3 + b"garbage\r\n\r\n")
    assert answers.count(b"HTTP/1.1 200 OK") == 4
    assert answers.endswith(engine.data)


def test_requests_behind_a_last_one_are_not_answered(engine: Engine) -> None:
    request = _post(b"/upload", b"Content-Length: 4", b"Connection: close") + b"data" + GET
    assert engine.exchange(request).count(b"HTTP/1.1 200 OK") == 1


@pytest.mark.parametrize("requests", [1, 3])
def test_a_client_that_ends_its_side_gets_its_answers(engine: Engine, requests: int) -> None:
    with engine.connect() as connection:
        upload = _post(b"/upload", b"Content-Length: 4") + b"data"
        connection.sendall(upload + GET * requests)
        connection.shutdown(socket.SHUT_WR)
        answers = read_all(connection)
    assert answers.count(b"HTTP/1.1 200 OK") == 1 + requests
    assert answers.endswith(engine.data)


def test_requests_sent_ahead_take_turns_in_memory(engine: Engine) -> None:
    """A client that never stops sending is held back by TCP, not stored as requests."""
    with engine.connect() as connection:
        connection.sendall(_post(b"/upload", b"Content-Length: 4", b"Expect: 100-continue"))
        connection.recv(100)
        connection.sendall(b"data")
        connection.settimeout(0.1)
        with pytest.raises(TimeoutError):
            connection.sendall(TINY * 1_000_000)
        protocols = list(engine.server.server_state.connections)
        assert len(protocols) == 1
        assert 1 <= len(protocols[0].pipeline) < 1000  # type: ignore[union-attr]
    wait_until(lambda: not engine.server.server_state.connections)


def test_many_requests_sent_ahead_are_all_answered_in_order(engine: Engine) -> None:
    with engine.connect() as connection:
        request = b"GET /file HTTP/1.1\r\nHost: x\r\nRange: bytes=%d-%d\r\n\r\n"
        connection.sendall(b"".join(request % (n, n + 9) for n in range(2000)))
        for number in range(2000):
            assert read_response(connection)[2] == engine.data[number : number + 10]
        connection.sendall(GET)
        assert read_response(connection)[2] == engine.data


def test_half_a_head_behind_a_request_has_a_deadline(tmp_path: Path) -> None:
    with (
        running_engine(tmp_path, size=1000, timeout_keep_alive=1) as engine,
        engine.connect() as connection,
    ):
        connection.sendall(GET * 3 + GET[:10])
        for _ in range(3):
            assert read_response(connection)[2] == engine.data
        assert connection.recv(1) == b""


@pytest.mark.parametrize("pause", [0.0, 0.1])
@pytest.mark.parametrize("before", [b"", GET])
@pytest.mark.parametrize("fields", [[], [b"Connection: Upgrade", b"Upgrade: h2c"]])
def test_trailers_are_no_headers(
    engine: Engine, pause: float, before: bytes, fields: list[bytes]
) -> None:
    """Whether they come together with the head or not, and whatever was sent before it."""
    head = _post(b"/trailers", b"Transfer-Encoding: chunked", *fields)
    with engine.connect() as connection:
        connection.sendall(before + head + b"4\r\ndata\r\n")
        time.sleep(pause)
        connection.sendall(b"0\r\nX-Field: behind\r\n\r\n")
        if before:
            read_response(connection)
        answer = json.loads(read_response(connection)[2])
    assert answer == {"head": None, "trailer": "behind"}
