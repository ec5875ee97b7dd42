"""Uploads on bare sockets: connections that live on, and senders that do not."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from hashlib import sha256

import pytest
from tests.support.hub import RunningHub, running_hub
from tests.support.waiting import in_time
from tests.support.wire import FILES, content, healthy, listed, staged, wire

MIB = 1024**2
BIG = os.urandom(5 * MIB + 12_345)


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    """A hub of little patience and small files."""
    directory = tmp_path_factory.mktemp("strict")
    settings = {"DSX_STALL_TIMEOUT": "1", "DSX_MIN_RATE": "0", "DSX_MAX_FILE_SIZE": "4MiB"}
    with running_hub(directory, **settings) as running:
        yield running


def left_nothing(hub: RunningHub, name: str) -> bool:
    """Whether an upload that failed is gone without a trace, and the hub well."""
    gone = in_time(lambda: not staged(hub)) and not listed(hub, name)
    return gone and healthy(hub) and "Traceback" not in hub.log.read_text()


def stored_as(hub: RunningHub, name: str, data: bytes) -> bool:
    (record,) = listed(hub, name)
    same = record["sha256"] == sha256(data).hexdigest()
    return same and hub.get(content(record)).content == data


@pytest.mark.parametrize("size", [0, 1, 65_536, 262_144, 262_145, 524_288, 1_048_576, len(BIG)])
def test_the_connection_goes_on_after_an_upload(hub: RunningHub, size: int) -> None:
    data = BIG[:size]
    with wire(hub) as client:
        for round_ in range(2):
            client.send(client.upload(f"http-on-{size}-{round_}", data))
            answer = client.answer()
            assert answer.status == 201
            assert answer.headers.get("connection") != "close"
            assert client.ask("GET", answer.headers["location"] + "/content").body == data
    assert not staged(hub)


def test_requests_right_behind_big_bodies_in_one_send(hub: RunningHub) -> None:
    with wire(hub) as client:
        client.send(
            client.upload("http-pipe-1", BIG)
            + client.head("GET", "/health")
            + client.upload("http-pipe-2", BIG[::-1])
            + client.upload("http-pipe-3", b"small")
            + client.head("GET", f"{FILES}?name=http-pipe-3")
        )
        assert [client.answer().status for _ in range(5)] == [201, 200, 201, 201, 200]
    assert stored_as(hub, "http-pipe-1", BIG)
    assert stored_as(hub, "http-pipe-2", BIG[::-1])
    assert stored_as(hub, "http-pipe-3", b"small")


def test_a_body_in_odd_pieces(hub: RunningHub) -> None:
    with wire(hub) as client:
        request = client.upload("http-odd", BIG)
        sizes = [1, 17, 300, 70_000, 262_143, 1, 524_289, 1_000_003]
        position = 0
        while position < len(request):
            size = sizes[position % len(sizes)]
            client.send(request[position : position + size])
            position += size
        assert client.answer().status == 201
    assert stored_as(hub, "http-odd", BIG)


@pytest.mark.parametrize("size", [10, len(BIG)])
def test_expect_100_continue(hub: RunningHub, size: int) -> None:
    name = f"http-expect-{size}"
    with wire(hub) as client:
        request = client.upload(name, BIG[:size], "Expect: 100-continue")
        head, body = request[: len(request) - size], request[len(request) - size :]
        client.send(head)
        assert client.answer().status == 100
        client.send(body)
        assert client.answer().status == 201
        assert client.ask("GET", "/health").status == 200
    assert stored_as(hub, name, BIG[:size])


def test_expect_100_continue_is_refused_before_the_body(strict: RunningHub) -> None:
    with wire(strict) as client:
        length = f"Content-Length: {20 * MIB}"
        path = f"{FILES}?name=http-refused"
        assert client.ask("POST", path, length, "Expect: 100-continue").status == 413


@pytest.mark.parametrize("chunk", [1000, 100_000, 3 * MIB])
def test_chunked(hub: RunningHub, chunk: int) -> None:
    name = f"http-chunked-{chunk}"
    pieces = [BIG[start : start + chunk] for start in range(0, len(BIG), chunk)]
    with wire(hub) as client:
        client.send(client.head("POST", f"{FILES}?name={name}", "Transfer-Encoding: chunked"))
        client.send(b"".join(b"%x;note=1\r\n%s\r\n" % (len(piece), piece) for piece in pieces))
        client.send(b"0\r\nTrailer: ignored\r\n\r\n" + client.head("GET", "/health"))
        assert [client.answer().status, client.answer().status] == [201, 200]
    assert stored_as(hub, name, BIG)


@pytest.mark.parametrize("sent", [0, 1000, 300_000, 3 * MIB, len(BIG) - 1])
def test_a_client_that_leaves_in_the_middle(hub: RunningHub, sent: int) -> None:
    name = f"http-left-{sent}"
    with wire(hub) as client:
        request = client.upload(name, BIG)
        client.send(request[: len(request) - len(BIG) + sent])
        assert in_time(lambda: bool(staged(hub)))
    assert left_nothing(hub, name)


def test_a_client_that_leaves_in_the_middle_of_a_chunked_body(hub: RunningHub) -> None:
    with wire(hub) as client:
        path = f"{FILES}?name=http-left-chunked"
        client.send(client.head("POST", path, "Transfer-Encoding: chunked"))
        client.send(b"%x\r\n" % len(BIG) + BIG[:MIB])
        assert in_time(lambda: bool(staged(hub)))
    assert left_nothing(hub, "http-left-chunked")


def test_many_clients_leave_at_once(hub: RunningHub) -> None:
    with wire(hub) as a, wire(hub) as b, wire(hub) as c, wire(hub) as d:
        for client in (a, b, c, d):
            client.send(client.upload("http-left-many", BIG)[: 2 * MIB])
        assert in_time(lambda: len(staged(hub)) == 4)
    assert left_nothing(hub, "http-left-many")


@pytest.mark.parametrize("size", [100, 3 * MIB])
def test_a_trickling_sender_stays(strict: RunningHub, size: int) -> None:
    name = f"http-trickle-{size}"
    with wire(strict) as client:
        request = client.upload(name, BIG[:size])
        client.send(request[:-6])
        for position in range(-6, 0):
            time.sleep(0.4)
            client.send(request[position:][:1])
        assert client.answer().status == 201
    assert stored_as(strict, name, BIG[:size])


@pytest.mark.parametrize("sent", [0, 50, 600_000])
def test_a_silent_sender_is_told_408(strict: RunningHub, sent: int) -> None:
    name = f"http-silent-{sent}"
    with wire(strict) as client:
        request = client.upload(name, BIG[: 3 * MIB])
        client.send(request[: len(request) - 3 * MIB + sent])
        begun = time.monotonic()
        answer = client.answer()
        assert answer.status == 408
        assert 0.8 < time.monotonic() - begun < 3.5
        assert answer.headers["connection"] == "close"
        assert client.ended()
    assert left_nothing(strict, name)


@pytest.mark.parametrize("announced", [True, False])
def test_too_large_is_told_while_the_client_still_sends(
    strict: RunningHub, announced: bool
) -> None:
    """The client writes all its 20 MiB before it reads, as most do."""
    field = f"Content-Length: {20 * MIB}" if announced else "Transfer-Encoding: chunked"
    piece = BIG[:MIB] if announced else b"%x\r\n%s\r\n" % (MIB, BIG[:MIB])
    with wire(strict) as client:
        client.send(client.head("POST", f"{FILES}?name=http-large", field))
        for _ in range(20):
            client.send(piece)
        answer = client.answer()
        assert answer.status == 413
        assert answer.headers["connection"] == "close"
        assert client.ended()
    assert left_nothing(strict, "http-large")


def test_too_large_is_told_to_a_client_on_a_slow_line(strict: RunningHub) -> None:
    with wire(strict) as client:
        length = f"Content-Length: {20 * MIB}"
        client.send(client.head("POST", f"{FILES}?name=http-large", length))
        for _ in range(20):
            time.sleep(0.15)
            client.send(BIG[:MIB])
        assert client.answer().status == 413
        assert client.ended()


def test_a_form_too_large_is_told_while_the_client_still_sends(strict: RunningHub) -> None:
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n'
    with wire(strict) as client:
        form = "Content-Type: multipart/form-data; boundary=b"
        client.send(client.upload("http-large", head + bytes(20 * MIB) + b"\r\n--b--\r\n", form))
        assert client.answer().status == 413
        assert client.ended()
    assert left_nothing(strict, "http-large")


def test_exactly_the_largest_file(strict: RunningHub) -> None:
    with wire(strict) as client:
        client.send(client.upload("http-largest", BIG[: 4 * MIB]))
        assert client.answer().status == 201
        client.send(client.upload("http-larger", BIG[: 4 * MIB + 1]))
        assert client.answer().status == 413
    assert stored_as(strict, "http-largest", BIG[: 4 * MIB])
    assert left_nothing(strict, "http-larger")


def test_a_client_that_never_stops_sending_is_cut_off(strict: RunningHub) -> None:
    with wire(strict) as client:
        client.send(client.head("POST", f"{FILES}?name=http-endless", f"Content-Length: {10**12}"))
        with pytest.raises(ConnectionError):
            client.send(bytes(128 * MIB))
    assert left_nothing(strict, "http-endless")


def test_an_unauthenticated_sender_is_told_and_closed(hub: RunningHub) -> None:
    with wire(hub) as client:
        head = client.upload("http-stranger", BIG).replace(hub.key.encode(), b"wrong", 1)
        client.send(head)
        assert client.answer().status == 401
        assert client.ended()
    assert left_nothing(hub, "http-stranger")
