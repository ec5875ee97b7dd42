"""The sender where the server has no zero-copy extension: the same bytes, through Python."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.types import Message

from dsx.core.content import Content, FileSlice, Literal, Piece, Stream
from dsx.core.errors import Damaged, NotFound
from dsx.http.send import ContentResponse
from dsx.transport.extensions import ZERO_COPY

HEAD, TAIL = b"literal " * 100, os.urandom(5000)
MIDDLE = os.urandom(2_500_000)
WHOLE = HEAD + MIDDLE + TAIL
MODIFIED = 1_700_000_000_000_000


class Recorder:
    """Collects what an application sends, and sees that it is well-formed."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self.zero_copies = 0
        self.ended = False

    async def send(self, message: Message) -> None:
        assert not self.ended
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {k.decode(): v.decode() for k, v in message["headers"]}
            return
        assert self.status
        if message["type"] == ZERO_COPY:
            self.zero_copies += 1
            count, offset = message["count"], message["offset"]
            self.body += os.pread(message["file"].fileno(), count, offset)
        else:
            assert message["type"] == "http.response.body"
            self.body += bytes(message["body"])
        self.ended = not message.get("more_body", False)


def three_kinds(file: Path) -> Content:
    """Literal bytes, a slice from the middle of *file*, and a stream, behind each other."""
    if not file.exists():
        file.write_bytes(b"before" + MIDDLE + b"after")
    middle, tail = len(HEAD), len(HEAD) + len(MIDDLE)

    async def chunks(data: bytes) -> AsyncIterator[bytes]:
        for position in range(0, len(data), 999):
            yield data[position : position + 999]

    async def pieces(start: int, stop: int) -> AsyncIterator[Piece]:
        if start < middle:
            yield Literal(HEAD[start : min(stop, middle)])
        first, last = max(start, middle), min(stop, tail)
        if first < last:
            yield FileSlice(lambda: os.open(file, os.O_RDONLY), 6 + first - middle, last - first)
        if stop > tail:
            data = TAIL[max(0, start - tail) : stop - tail]
            yield Stream(lambda: chunks(data), len(data))

    return Content(len(WHOLE), "text/x", "tag", MODIFIED, "ü.txt", None, pieces)


def respond(
    content: Content,
    *fields: tuple[bytes, bytes],
    method: str = "GET",
    zero_copy: bool = False,
    client_left: bool = False,
) -> Recorder:
    scope = {
        "type": "http",
        "method": method,
        "path": "/x",
        "headers": list(fields),
        "extensions": {ZERO_COPY: {}} if zero_copy else {},
    }
    if not zero_copy:
        del scope["extensions"]

    async def receive() -> Message:
        if not client_left:
            await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    recorder = Recorder()
    asyncio.run(ContentResponse(Request(scope), content)(scope, receive, recorder.send))
    return recorder


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> Content:
    return three_kinds(tmp_path_factory.mktemp("plain") / "file")


@pytest.mark.parametrize("zero_copy", [True, False])
def test_the_whole(content: Content, zero_copy: bool) -> None:
    answer = respond(content, zero_copy=zero_copy)
    assert (answer.status, answer.body, answer.ended) == (200, WHOLE, True)
    assert answer.headers["content-length"] == str(len(WHOLE))
    assert answer.zero_copies == int(zero_copy)


@pytest.mark.parametrize("zero_copy", [True, False])
@given(st.integers(0, len(WHOLE) - 1), st.integers(0, len(WHOLE) - 1))
def test_any_range(content: Content, zero_copy: bool, one: int, other: int) -> None:
    first, last = sorted([one, other])
    answer = respond(content, (b"range", b"bytes=%d-%d" % (first, last)), zero_copy=zero_copy)
    assert (answer.status, answer.ended) == (206, True)
    assert answer.body == WHOLE[first : last + 1]


@pytest.mark.parametrize("zero_copy", [True, False])
def test_several_ranges_have_the_promised_length(content: Content, zero_copy: bool) -> None:
    field = (b"range", b"bytes=700-900000,1000000-1000001,-6000")
    answer = respond(content, field, zero_copy=zero_copy)
    assert answer.status == 206
    assert answer.headers["content-length"] == str(len(answer.body))
    for start, stop in [(700, 900_001), (1_000_000, 1_000_002), (len(WHOLE) - 6000, len(WHOLE))]:
        head = f"Content-Range: bytes {start}-{stop - 1}/{len(WHOLE)}\r\n\r\n"
        assert head.encode() + WHOLE[start:stop] + b"\r\n--" in answer.body


def test_head_and_304_have_no_body(content: Content) -> None:
    for answer in (
        respond(content, method="HEAD"),
        respond(content, (b"if-none-match", b'"tag"')),
    ):
        assert (answer.body, answer.ended) == (b"", True)


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def promised(size: int, opened: Callable[[], int]) -> Content:
    """A file said to have *size* bytes."""

    async def pieces(start: int, stop: int) -> AsyncIterator[Piece]:
        yield FileSlice(opened, start, stop - start)

    return Content(size, "text/x", "tag", MODIFIED, None, None, pieces)


@pytest.mark.parametrize("stored", [0, 999, 150_000])
def test_a_file_too_short_leaves_the_answer_without_an_end(tmp_path: Path, stored: int) -> None:
    file = tmp_path / "short"
    file.write_bytes(bytes(stored))
    before = descriptors()
    answer = respond(promised(200_000, lambda: os.open(file, os.O_RDONLY)))
    assert (answer.status, answer.ended) == (200, False)
    assert answer.body == bytes(stored)
    assert descriptors() == before


def test_a_small_file_too_short_is_told_before_the_head(tmp_path: Path) -> None:
    file = tmp_path / "short"
    file.write_bytes(bytes(9))
    with pytest.raises(Damaged):
        respond(promised(10, lambda: os.open(file, os.O_RDONLY)))


@pytest.mark.parametrize("size", [10, 200_000])
def test_a_file_that_is_gone_is_told_before_the_head(size: int) -> None:
    def gone() -> int:
        raise NotFound("gone")

    with pytest.raises(NotFound):
        respond(promised(size, gone))


def test_a_client_that_left_is_sent_no_more(content: Content) -> None:
    before = descriptors()
    answer = respond(content, client_left=True)
    assert (answer.status, answer.ended) == (200, False)
    assert len(answer.body) < len(WHOLE)
    assert descriptors() == before
