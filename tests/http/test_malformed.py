"""Requests that are wrong on the wire: told so or cut off, and never a failure of the server."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator

import pytest
from tests.support.hub import KEY, RunningHub
from tests.support.waiting import in_time
from tests.support.wire import FILES, content, healthy, staged, status_value, wire

START = (
    f"POST {FILES}?name=http-malformed HTTP/1.1\r\nHost: hub\r\nAuthorization: {KEY}\r\n".encode()
)
END = b"\r\n\r\n"
MIB = 1024**2

LENGTHS = {
    "negative": b"Content-Length: -1",
    "a word": b"Content-Length: many",
    "empty": b"Content-Length:",
    "signed": b"Content-Length: +4",
    "hexadecimal": b"Content-Length: 0x4",
    "fraction": b"Content-Length: 4.0",
    "list": b"Content-Length: 4, 4",
    "beyond 64 bits": b"Content-Length: " + b"9" * 30,
    "superscript": b"Content-Length: \xb2",
    "twice the same": b"Content-Length: 4\r\nContent-Length: 4",
    "twice": b"Content-Length: 4\r\nContent-Length: 5",
    "and chunked": b"Content-Length: 4\r\nTransfer-Encoding: chunked",
    "chunked and": b"Transfer-Encoding: chunked\r\nContent-Length: 4",
    "and not chunked": b"Content-Length: 4\r\nTransfer-Encoding: identity",
    "space before colon": b"Content-Length : 4",
}
CODINGS = {
    "unknown": b"Transfer-Encoding: brotli",
    "chunked not last": b"Transfer-Encoding: chunked, gzip",
    "chunked twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    "vertical tab": b"Transfer-Encoding: \x0bchunked",
}
HEADS = {
    "garbage": os.urandom(200) + END,
    "nothing": b"\r\n\r\n\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/0.9": b"GET /\r\n",
    "HTTP/3.7": b"GET /health HTTP/3.7" + END,
    "no version": b"GET /health" + END,
    "unknown method": b"BREW /health HTTP/1.1" + END,
    "lower-case method": b"get /health HTTP/1.1\r\nHost: x" + END,
    "space in target": b"GET /a b HTTP/1.1\r\nHost: x" + END,
    "NUL in target": b"GET /\x00 HTTP/1.1\r\nHost: x" + END,
    "bytes in target": b"GET /\xff\xfe HTTP/1.1\r\nHost: x" + END,
    "bad escapes": b"GET /%zz%ff%?%=%ff&=& HTTP/1.1\r\nHost: x" + END,
    "bad escapes in a name": START.replace(b"http-malformed", b"%ff%fe%00%") + END,
    "absolute target": b"GET http://other/health HTTP/1.1\r\nHost: x" + END,
    "asterisk": b"OPTIONS * HTTP/1.1\r\nHost: x" + END,
    "authority": b"CONNECT hub:80 HTTP/1.1\r\nHost: x" + END,
    "not a target": b"GET health HTTP/1.1\r\nHost: x" + END,
    "open bracket": b"GET http://[::1/health HTTP/1.1\r\nHost: x" + END,
    "no host": b"GET /health HTTP/1.1" + END,
    "hosts": b"GET /health HTTP/1.1\r\nHost: a\r\nHost: b" + END,
    "bad host": b"GET /api/v1/files HTTP/1.1\r\nHost: [a]:x@/\\\r\nAuthorization: test-key" + END,
    "field without colon": b"GET /health HTTP/1.1\r\nHost: x\r\nnonsense" + END,
    "field without name": b"GET /health HTTP/1.1\r\nHost: x\r\n: x" + END,
    "folded field": b"GET /health HTTP/1.1\r\nHost: x\r\nX-A: b\r\n c" + END,
    "NUL in field": b"GET /health HTTP/1.1\r\nHost: x\r\nX-A: \x00" + END,
    "bytes in key": b"GET /api/v1/files HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \xff" + END,
    "bad basic": b"GET /api/v1/files HTTP/1.1\r\nHost: x\r\nAuthorization: Basic ====" + END,
    "bare line feeds": b"GET /health HTTP/1.1\nHost: x\n\n",
    "upgrade": b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket"
    + END,
    "h2c": b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c" + END,
    "unknown expectation": START + b"Expect: a-miracle\r\nContent-Length: 4" + END + b"data",
}
BODIES = {
    "no size": b"\r\ndata\r\n0\r\n\r\n",
    "bad size": b"zz\r\ndata\r\n0\r\n\r\n",
    "negative size": b"-4\r\ndata\r\n0\r\n\r\n",
    "size beyond 64 bits": b"f" * 20 + b"\r\ndata\r\n0\r\n\r\n",
    "too much data": b"2\r\ndata\r\n0\r\n\r\n",
    "no line end": b"4\r\ndata0\r\n\r\n",
}


def exchanged(hub: RunningHub, request: bytes, *, finish: bool = True) -> list[int]:
    """The statuses the hub answers *request* with until it, or the end of ours, closes."""
    statuses = []
    with wire(hub) as client, contextlib.suppress(ConnectionError):
        client.send(request)
        if finish:
            time.sleep(0.02)
            client.socket.shutdown(1)
        while True:
            statuses.append(client.answer("HEAD" if request.startswith(b"HEAD") else "GET").status)
    return statuses


@pytest.fixture(autouse=True)
def _unharmed(hub: RunningHub) -> Iterator[None]:
    """After each test the hub is well, keeps nothing, and has logged no failure of its own."""
    before = len(hub.log.read_text())
    yield
    assert in_time(lambda: not staged(hub))
    assert healthy(hub)
    news = hub.log.read_text()[before:]
    assert "Traceback" not in news
    assert "unforeseen" not in news


@pytest.mark.parametrize("field", LENGTHS.values(), ids=LENGTHS)
def test_content_length(hub: RunningHub, field: bytes) -> None:
    """A request of doubtful length is refused, and what follows is never taken for a request."""
    smuggled = b"GET /health HTTP/1.1\r\nHost: x" + END
    assert exchanged(hub, START + field + END + b"data" + smuggled) == [400]


@pytest.mark.parametrize("field", CODINGS.values(), ids=CODINGS)
def test_transfer_encoding(hub: RunningHub, field: bytes) -> None:
    statuses = exchanged(hub, START + field + END + b"4\r\ndata\r\n0\r\n\r\n")
    assert len(statuses) <= 1
    assert all(400 <= status < 500 for status in statuses)


@pytest.mark.parametrize("request_", HEADS.values(), ids=HEADS)
def test_heads(hub: RunningHub, request_: bytes) -> None:
    statuses = exchanged(hub, request_)
    assert len(statuses) <= 1
    assert all(200 <= status < 500 for status in statuses)


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_chunks(hub: RunningHub, body: bytes) -> None:
    start = START.replace(b"http-malformed", b"http-bad-chunks")
    statuses = exchanged(hub, start + b"Transfer-Encoding: chunked" + END + body)
    assert len(statuses) <= 1
    assert all(400 <= status < 500 for status in statuses)
    assert not hub.get(FILES, params={"name": "http-bad-chunks"}).json()["items"]


ENDLESS = {
    "one field": (b"X-A: ", b"x" * MIB),
    "many fields": (b"", b"X-A: b\r\n" * (MIB // 8)),
    "field name": (b"", b"x" * MIB),
}


@pytest.mark.parametrize(("first", "rest"), ENDLESS.values(), ids=ENDLESS)
def test_an_endless_head(hub: RunningHub, first: bytes, rest: bytes) -> None:
    refused_at_last(hub, b"GET /health HTTP/1.1\r\nHost: x\r\n" + first, rest)


def test_an_endless_target(hub: RunningHub) -> None:
    refused_at_last(hub, b"GET /", b"x" * MIB)


def test_an_endless_trailer(hub: RunningHub) -> None:
    start = START + b"Transfer-Encoding: chunked" + END + b"4\r\ndata\r\n0\r\nX-A: "
    refused_at_last(hub, start, b"x" * MIB)


def refused_at_last(hub: RunningHub, start: bytes, rest: bytes) -> None:
    """64 MiB of a head are too many: the server closes early and has not kept them."""
    memory = status_value(hub, "VmHWM")
    with wire(hub) as client:
        with pytest.raises(ConnectionError):
            client.send(start + rest * 64)
        with contextlib.suppress(ConnectionError):
            assert 400 <= client.answer().status < 500
    assert status_value(hub, "VmHWM") - memory < 16 * 1024


def test_a_large_head_within_reason(hub: RunningHub) -> None:
    with wire(hub) as client:
        fields = [f"X-{n}: {'x' * 4000}" for n in range(8)]
        assert client.ask("GET", "/health", *fields).status == 200
        assert client.ask("GET", f"/health?x={'y' * 30_000}").status == 200


def test_garbage_behind_a_request_does_not_get_into_its_answer(hub: RunningHub) -> None:
    data = os.urandom(30_000)
    path = content(hub.store("http-garbage", data))
    with wire(hub) as client:
        client.send(client.head("GET", path) + b"\x00garbage\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            answer = client.answer()
            assert answer.status == 400 or data.startswith(answer.body)
            assert client.ended()


def test_an_early_end_of_ours_is_no_failure(hub: RunningHub) -> None:
    for size in (0, 10, 60):
        assert exchanged(hub, START[:size]) == []


@pytest.mark.parametrize("protocol", ["h2c", "websocket"])
def test_an_upgrade_that_is_declined_is_a_request_like_any_other(
    hub: RunningHub, protocol: str
) -> None:
    """Some clients offer HTTP/2 with every first request, uploads too."""
    offer = ["Connection: Upgrade, HTTP2-Settings", f"Upgrade: {protocol}", "HTTP2-Settings: AA"]
    with wire(hub) as client:
        for size in (0, 4, 3 * MIB):
            data = os.urandom(size)
            client.send(client.upload(f"http-upgrade-{protocol}-{size}", data, *offer))
            answer = client.answer()
            assert answer.status == 201
            path = answer.headers["location"] + "/content"
            assert client.ask("GET", path, *offer).body == data
        client.send(client.head("GET", "/health", *offer) * 2 + client.head("GET", "/health"))
        assert [client.answer().status for _ in range(3)] == [200] * 3
