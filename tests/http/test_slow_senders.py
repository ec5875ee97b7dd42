"""H3: slow bodies are cut, slow honest ones are not, and few bytes take little memory."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.http.engine import MIB, Engine, read_response, running_engine, wait_until
from tests.support.hub import RunningHub, running_hub
from tests.support.memory import rss
from tests.support.wire import staged, wire

from dsx.core.errors import TimedOut
from dsx.transport import body
from dsx.transport.buffers import LARGE, MOST, SMALL, BufferPool
from dsx.transport.protocol import DSXProtocol
from dsx.transport.settings import ConnectionSettings

RATE = 2000


class Impatient(DSXProtocol):
    """Waits a second for bytes that come at less than `RATE` a second."""

    defaults = ConnectionSettings(stall_timeout=1.0, min_rate=RATE)


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    directory = tmp_path_factory.mktemp("impatient")
    with running_engine(directory, size=1000, protocol=Impatient) as running:
        yield running


HEADS = {
    "small": "Content-Length: 200000",
    "large": "Content-Length: 9000000",
    "chunked": "Transfer-Encoding: chunked",
}


def dribble(connection: socket.socket, piece: bytes, seconds: float) -> bool:
    """Send *piece* ten times a second; whether the server still listens after *seconds*."""
    end = time.monotonic() + seconds
    connection.settimeout(0.1)
    while time.monotonic() < end:
        try:
            connection.sendall(piece)
            if connection.recv(1, socket.MSG_PEEK) is not None:
                return False
        except TimeoutError:
            continue
        except OSError:
            return False
    return True


@pytest.mark.parametrize("kind", HEADS)
def test_h3_a_body_of_few_bytes_a_second_is_cut(impatient: Engine, kind: str) -> None:
    piece = b"2\r\nab\r\n" if kind == "chunked" else b"ab"
    with impatient.connect() as connection:
        connection.sendall(f"POST /upload HTTP/1.1\r\nHost: x\r\n{HEADS[kind]}\r\n\r\n".encode())
        assert not dribble(connection, piece, 20)
        connection.settimeout(10)
        assert read_response(connection)[0] == 408
    assert impatient.outcome() is TimedOut


@pytest.mark.parametrize("kind", HEADS)
def test_h3_a_slow_honest_sender_is_not_cut(impatient: Engine, kind: str) -> None:
    """Half again as fast as it has to be, for longer than patience lasts."""
    data = b"x" * (3 * RATE // 2 // 10 * 2)  # the machine may be busy: sleeps last longer
    piece = b"%x\r\n" % len(data) + data + b"\r\n" if kind == "chunked" else data
    with impatient.connect() as connection:
        connection.sendall(f"POST /upload HTTP/1.1\r\nHost: x\r\n{HEADS[kind]}\r\n\r\n".encode())
        assert dribble(connection, piece, 3)
    impatient.outcome()


def test_h3_a_paused_task_may_be_silent(tmp_path: Path) -> None:
    patience = {"DSX_STALL_TIMEOUT": "1", "DSX_PAUSE_GRACE": "30"}
    with running_hub(tmp_path, **patience) as hub, wire(hub) as connection:
        size = 2 * MIB
        upload = hub.post("/api/v1/uploads", json={"name": "paused", "length": size}).json()
        path = f"/api/v1/uploads/{upload['id']}/parts/0"
        connection.send(connection.head("PUT", path, f"Content-Length: {size}") + b"x" * MIB)
        wait_until(lambda: hub.get(upload["url"]).json()["offset"] > 0 or None)
        assert hub.post(f"/api/v1/tasks/{upload['id']}/pause").status_code == 200
        time.sleep(3)  # three times as long as a sender may be silent
        assert hub.post(f"/api/v1/tasks/{upload['id']}/resume").status_code == 200
        connection.send(b"x" * MIB)
        answer = connection.answer()
        assert answer.status == 200, answer


def test_h3_two_bytes_take_no_large_buffer(impatient: Engine) -> None:
    """What comes in numbers does, and gives it back."""
    before = body.POOL._left
    with impatient.connect() as trickle, impatient.connect() as stream:
        head = "POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n"
        trickle.sendall(head.encode() + b"ab")
        wait_until(lambda: impatient.written > 0)
        assert body.POOL._left == before
        impatient.write_delay = 0.05
        sending = threading.Thread(target=stream.sendall, args=(head.encode() + bytes(9_000_000),))
        sending.start()
        wait_until(lambda: body.POOL._left < before)
        sending.join()
        assert read_response(stream)[0] == 200
        impatient.write_delay = 0.0
    wait_until(lambda: body.POOL._left == before == MOST)


def test_h3_buffers_are_bounded() -> None:
    pool = BufferPool(most=3, kept=1)
    lent = [pool.buffer(large=True) for _ in range(5)]
    assert [len(one.view) for one in lent] == [LARGE] * 3 + [SMALL] * 2
    for one in lent:
        one.release()
    assert len(pool._unused) == 1
    assert len(pool.buffer(large=True).view) == LARGE


@pytest.mark.parametrize("count", [60])
def test_h3_aborted_uploads_leave_no_memory_behind(tmp_path: Path, count: int) -> None:
    """300 of them took 913 MB for good; the drill has as many."""
    with running_hub(tmp_path) as hub:
        grown = aborted(hub, count)
    assert grown < 32 * MIB, grown


def aborted(hub: RunningHub, count: int) -> int:
    """Begin *count* uploads of 9 MB, send two bytes of each, leave; how much RSS grew, in bytes."""
    hub.store("first", bytes(9 * MIB))
    before = rss(hub)
    with ExitStack() as open_sockets:
        for number in range(count):
            address = hub.url.removeprefix("http://").split(":")
            connection = open_sockets.enter_context(socket.create_connection(tuple(address)))
            head = (
                f"POST /api/v1/files?name=a{number} HTTP/1.1\r\nHost: x\r\n"
                f"Authorization: Bearer {hub.key}\r\nContent-Length: 9000000\r\n\r\n"
            )
            connection.sendall(head.encode() + b"ab")
        wait_until(lambda: len(staged(hub)) == count, 60)
    wait_until(lambda: not staged(hub), 60)
    return rss(hub) - before
