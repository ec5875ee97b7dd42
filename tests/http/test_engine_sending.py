from __future__ import annotations

import asyncio
import os
import random
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.http.engine import (
    MIB,
    Engine,
    parse,
    read_all,
    read_response,
    running_engine,
    wait_until,
)

from dsx.core.errors import RangeUnsatisfiable
from dsx.core.ranges import parse_range
from dsx.transport import sendfile
from dsx.transport.protocol import DSXProtocol
from dsx.transport.settings import ConnectionSettings


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with running_engine(tmp_path_factory.mktemp("engine")) as running:
        yield running


@pytest.mark.parametrize("path", ["/file", "/fallback", "/mixed"])
def test_any_range_is_the_slice(engine: Engine, path: str) -> None:
    size = len(engine.data)
    cases = [(0, size), (0, 1), (size - 1, size), (65_535, 65_537), (0, 65_536), (0, 65_537)]
    cases += [tuple(sorted(random.sample(range(size + 1), 2))) for _ in range(10)]
    for start, stop in cases:
        status, headers, body = engine.get(path, f"Range: bytes={start}-{stop - 1}")
        assert status == 206
        assert headers["content-range"] == f"bytes {start}-{stop - 1}/{size}"
        assert body == engine.data[start:stop]
    assert engine.get(path)[2] == engine.data


def test_pipelined_requests_are_answered_in_order_and_the_connection_lives_on(
    engine: Engine,
) -> None:
    ranges = [(i * 100_000, i * 100_000 + 90_000) for i in range(12)]
    with engine.connect() as connection:
        for _ in range(2):
            connection.sendall(
                b"".join(
                    b"%s /file HTTP/1.1\r\nHost: x\r\nRange: bytes=%d-%d\r\n\r\n"
                    % (b"GET", start, stop - 1)
                    for start, stop in ranges
                )
            )
            for start, stop in ranges:
                status, _, body = read_response(connection)
                assert (status, body) == (206, engine.data[start:stop])


def test_head_has_the_headers_of_get_and_no_body(engine: Engine) -> None:
    got = engine.get("/file")
    status, headers, body = engine.get("/file", method="HEAD")
    assert (status, body) == (200, b"")
    assert headers == got[1]
    assert headers["content-length"] == str(len(engine.data))


def test_a_file_that_is_gone_is_an_answer_before_the_head_and_a_break_after(engine: Engine) -> None:
    assert engine.get("/gone/now")[0] == 410
    status, headers, body = engine.get("/gone/later")
    assert status == 200
    assert len(body) == 100_000 < int(headers["content-length"])


def test_a_file_that_shrinks_while_it_is_sent_breaks_the_connection(tmp_path: Path) -> None:
    with running_engine(tmp_path, size=40 * MIB) as engine, engine.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        connection.sendall(b"GET /file HTTP/1.1\r\nHost: x\r\n\r\n")
        begun = connection.recv(100)
        os.truncate(engine.file, 20 * MIB)
        body = parse(begun + read_all(connection))[2]
        assert body == engine.data[: len(body)]
        assert len(body) <= 20 * MIB


def test_stalled_readers_hold_no_thread_and_no_memory_and_block_nobody(tmp_path: Path) -> None:
    with running_engine(tmp_path, size=16 * MIB) as engine:
        assert engine.get("/file", "Range: bytes=0-99")[2] == engine.data[:100]
        threads, memory = threading.active_count(), _resident()
        stalled = [engine.connect() for _ in range(100)]
        for connection in stalled:
            connection.sendall(b"GET /file HTTP/1.1\r\nHost: x\r\n\r\n")
            assert connection.recv(12) == b"HTTP/1.1 200"
        begun = time.monotonic()
        assert engine.get("/file")[2] == engine.data
        assert time.monotonic() - begun < 3
        # Opening the files may have started pool threads; their number is bounded.
        assert threading.active_count() - threads <= min(32, (os.cpu_count() or 1) + 4)
        assert _resident() - memory < 50 * MIB
        for connection in stalled:
            connection.close()
        wait_until(lambda: _open(engine.file) == 0)


def test_a_client_that_leaves_in_the_middle_releases_everything(engine: Engine) -> None:
    for path in (b"/file", b"/fallback", b"/mixed"):
        for _ in range(5):
            with engine.connect() as connection:
                connection.sendall(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n")
                connection.recv(1000)
    wait_until(lambda: _open(engine.file) == 0)
    assert engine.get("/file")[2] == engine.data


def test_a_stream_ends_soon_after_its_reader_left(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.sendall(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
        connection.recv(1000)
    time.sleep(0.3)
    sent = engine.streamed
    time.sleep(0.3)
    assert engine.streamed == sent


def test_a_reader_that_takes_nothing_is_cut_off(tmp_path: Path) -> None:
    class Impatient(DSXProtocol):
        defaults = ConnectionSettings(stall_timeout=1.0)

    serving = running_engine(tmp_path, size=16 * MIB, protocol=Impatient)
    with serving as engine, engine.connect() as connection:
        connection.sendall(b"GET /file HTTP/1.1\r\nHost: x\r\n\r\n")
        connection.recv(1000)
        wait_until(lambda: _open(engine.file) == 1)
        wait_until(lambda: _open(engine.file) == 0, 15)


def test_a_file_that_is_not_in_memory_is_read_in_a_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    read_ahead = sendfile._Sending._read_ahead

    def noted(sending: sendfile._Sending) -> None:
        read.append(threading.get_ident())
        read_ahead(sending)

    monkeypatch.setattr(sendfile._Sending, "_read_ahead", noted)
    with running_engine(tmp_path, size=20 * MIB) as engine:
        with engine.file.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        assert engine.get("/file")[2] == engine.data
        loop_thread = asyncio.run_coroutine_threadsafe(_identity(), engine.loop).result()
        assert read
        assert loop_thread not in read


def test_under_tls_the_bytes_pass_through_the_process(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    _self_signed(key, certificate)
    with running_engine(tmp_path, ssl_keyfile=str(key), ssl_certfile=str(certificate)) as engine:
        context = ssl.create_default_context(cafile=str(certificate))
        with context.wrap_socket(engine.connect(), server_hostname="localhost") as connection:
            connection.sendall(b"GET /file HTTP/1.1\r\nHost: x\r\n\r\n")
            assert read_response(connection)[2] == engine.data
            head = b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
            following = b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nnext"
            connection.sendall(head % len(engine.data) + engine.data + following)
            assert b'"size":%d' % len(engine.data) in read_response(connection)[2]
            assert read_response(connection)[2] == b"next"


_POSITION = st.one_of(st.just(""), st.integers(0, 40).map(str))
_SPECS = st.lists(st.tuples(_POSITION, _POSITION), min_size=1, max_size=5)


@settings(max_examples=300, deadline=None)
@given(size=st.integers(0, 30), specs=_SPECS)
def test_ranges_agree_with_a_model(size: int, specs: list[tuple[str, str]]) -> None:
    header = "bytes=" + ",".join(f"{first}-{last}" for first, last in specs)
    wanted: set[int] = set()
    for first, last in specs:
        if (not first and not last) or (first and last and int(last) < int(first)):
            assert parse_range(header, size) is None
            return
        if first:
            wanted |= set(range(int(first), min(size, int(last) + 1 if last else size)))
        else:
            wanted |= set(range(max(0, size - int(last)), size))
    if not wanted:
        with pytest.raises(RangeUnsatisfiable):
            parse_range(header, size)
        return
    ranges = parse_range(header, size)
    assert ranges is not None
    assert [byte for r in ranges for byte in range(r.start, r.stop)] == sorted(wanted)


@pytest.mark.parametrize(
    "value",
    [
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=a-b",
        "bytes=5-1",
        "bytes=--1",
        "lines=1-2",
        "bytes=1-2-3",
        "bytes=" + "9" * 30 + "-",
        "bytes=" + ",".join(f"{n}-{n}" for n in range(0, 1000, 2)),
        "bytes=1-\xd9\xa5",
        "bytes=0x1-0x2",
        "bytes=+1-2",
    ],
)
def test_a_hostile_range_gets_the_whole_or_416(engine: Engine, value: str) -> None:
    status, _, body = engine.get("/file", f"Range: {value}")
    assert (status == 200 and body == engine.data) or status == 416


def test_several_ranges_are_a_multipart_of_known_length(engine: Engine) -> None:
    status, headers, body = engine.get("/file", "Range: bytes=0-9,200000-399999,-5")
    assert status == 206
    assert len(body) == int(headers["content-length"])
    boundary = headers["content-type"].removeprefix("multipart/byteranges; boundary=").encode()
    parts = body.split(b"\r\n--" + boundary)
    assert parts[0] == b""
    assert parts[-1] == b"--\r\n"
    contents = [part.partition(b"\r\n\r\n")[2] for part in parts[1:-1]]
    assert contents == [engine.data[0:10], engine.data[200000:400000], engine.data[-5:]]


def _open(path: Path) -> int:
    """How many descriptors of this process are *path*."""
    count = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            count += descriptor.readlink() == path
        except FileNotFoundError:
            continue
    return count


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


async def _identity() -> int:
    return threading.get_ident()


def _self_signed(key: Path, certificate: Path) -> None:
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command.split(), *names, *files], check=True, capture_output=True)
