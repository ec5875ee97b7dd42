"""Ranges: what is sent is byte for byte the slice that was asked for."""

from __future__ import annotations

import os
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.hub import RunningHub
from tests.support.wire import Answer, content, wire

from dsx.core.errors import RangeUnsatisfiable
from dsx.core.ranges import MAX_RANGES, parse_range

DATA = os.urandom(300_000)
SIZE = len(DATA)
Numbers = st.one_of(st.none(), st.integers(0, 40))


@pytest.fixture(scope="module")
def path(hub: RunningHub) -> str:
    return content(hub.store("http-ranges.bin", DATA))


def asked(hub: RunningHub, path: str, header: str, method: str = "GET") -> Answer:
    with wire(hub) as client:
        return client.ask(method, path, f"Range: {header}")


def parts(answer: Answer) -> list[tuple[str, bytes]]:
    """(Content-Range, bytes) of each part of a multipart/byteranges answer."""
    match = re.fullmatch(r"multipart/byteranges; boundary=(\w+)", answer.headers["content-type"])
    assert match is not None
    first, *found, end = answer.body.split(f"\r\n--{match[1]}".encode())
    assert (first, end) == (b"", b"--\r\n")
    result = []
    for part in found:
        head, _, body = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        assert set(fields) == {"Content-Type", "Content-Range"}
        result.append((fields["Content-Range"], body))
    return result


@pytest.mark.parametrize(
    ("header", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-", 0, SIZE),
        ("bytes=7-9", 7, 10),
        ("bytes=100-250000", 100, 250_001),
        (f"bytes={SIZE - 1}-", SIZE - 1, SIZE),
        (f"bytes={SIZE - 1}-{SIZE + 10**9}", SIZE - 1, SIZE),
        ("bytes=-1", SIZE - 1, SIZE),
        ("bytes=-100000", SIZE - 100_000, SIZE),
        (f"bytes=-{SIZE + 1}", 0, SIZE),
        ("BYTES= 5-6 ", 5, 7),
        ("bytes=,5-6,,", 5, 7),
        ("bytes=0-9,5-19", 0, 20),
        ("bytes=10-19,0-9", 0, 20),
        (f"bytes=0-9,{SIZE}-", 0, 10),
        ("bytes=3-3,3-3,3-3", 3, 4),
    ],
)
def test_one_range(hub: RunningHub, path: str, header: str, start: int, stop: int) -> None:
    answer = asked(hub, path, header)
    assert answer.status == 206
    assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/{SIZE}"
    assert answer.headers["content-length"] == str(stop - start)
    assert answer.body == DATA[start:stop]


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-0,-1", [(0, 1), (SIZE - 1, SIZE)]),
        ("bytes=200000-299999,0-99999", [(0, 100_000), (200_000, SIZE)]),
        ("bytes=0-9,5-14,20-29,25-", [(0, 15), (20, SIZE)]),
        (",".join(["bytes=0-0", *(f"{n}-{n}" for n in range(2, 128, 2))]), None),
    ],
)
def test_several_ranges(
    hub: RunningHub, path: str, header: str, expected: list[tuple[int, int]] | None
) -> None:
    expected = expected or [(n, n + 1) for n in range(0, 128, 2)]
    answer = asked(hub, path, header)
    assert answer.status == 206
    assert "content-range" not in answer.headers
    assert parts(answer) == [
        (f"bytes {start}-{stop - 1}/{SIZE}", DATA[start:stop]) for start, stop in expected
    ]


@pytest.mark.parametrize(
    "header",
    [
        "bytes=",
        "bytes=-",
        "bytes=9-3",
        "bytes=0-9,x",
        "bytes=a-b",
        "bytes 0-9",
        "lines=0-9",
        "bytes=0-9;1-2",
        "bytes=--5",
        "bytes=\u0661-\u0662",
        "bytes=" + "9" * 50 + "-",
        "bytes=" + ",".join(f"{2 * n}-{2 * n}" for n in range(MAX_RANGES + 1)),
    ],
)
def test_a_range_that_means_nothing_is_ignored(hub: RunningHub, path: str, header: str) -> None:
    answer = asked(hub, path, header)
    assert (answer.status, answer.body) == (200, DATA)
    assert "content-range" not in answer.headers


@pytest.mark.parametrize("header", [f"bytes={SIZE}-", "bytes=-0", f"bytes={SIZE}-,{SIZE + 5}-"])
def test_no_such_range(hub: RunningHub, path: str, header: str) -> None:
    with wire(hub) as client:
        answer = client.ask("GET", path, f"Range: {header}")
        assert answer.status == 416
        assert answer.headers["content-range"] == f"bytes */{SIZE}"
        assert client.ask("GET", path).body == DATA


def test_an_empty_file(hub: RunningHub) -> None:
    path = content(hub.store("http-empty.bin", b""))
    with wire(hub) as client:
        whole = client.ask("GET", path)
        assert (whole.status, whole.body, whole.headers["content-length"]) == (200, b"", "0")
        answer = client.ask("GET", path, "Range: bytes=0-")
        assert (answer.status, answer.headers["content-range"]) == (416, "bytes */0")


def test_head_tells_of_the_whole_and_ignores_ranges(hub: RunningHub, path: str) -> None:
    with wire(hub) as client:
        whole = client.ask("GET", path)
        answer = client.ask("HEAD", path, "Range: bytes=0-9")
        assert answer.status == 200
        assert answer.headers["accept-ranges"] == "bytes"
        same = set(whole.headers) - {"date"}
        assert {n: answer.headers[n] for n in same} == {n: whole.headers[n] for n in same}
        assert client.ask("GET", path).body == DATA  # nothing of a body came after the head


def members(text: str, size: int) -> set[int]:
    """The bytes a single well-formed range-spec names, by the letter of RFC 9110 §14.1.2."""
    first, last = text.split("-")
    if not first:
        return set(range(size)[-int(last) :]) if int(last) else set()
    return {n for n in range(size) if n >= int(first) and (not last or n <= int(last))}


@given(
    size=st.integers(0, 30),
    specs=st.lists(st.tuples(Numbers, Numbers), min_size=1, max_size=6),
    gap=st.sampled_from([",", ", ", " ,", ",,"]),
)
def test_parsing_agrees_with_sets_of_bytes(
    size: int, specs: list[tuple[int | None, int | None]], gap: str
) -> None:
    texts = ["-".join("" if n is None else str(n) for n in spec) for spec in specs]
    header = "bytes=" + gap.join(texts)
    malformed = any(
        text == "-" or (None not in spec and spec[0] > spec[1])  # type: ignore[operator]
        for spec, text in zip(specs, texts, strict=True)
    )
    if malformed:
        assert parse_range(header, size) is None
        return
    wanted = set[int]().union(*(members(text, size) for text in texts))
    if not wanted:
        with pytest.raises(RangeUnsatisfiable):
            parse_range(header, size)
        return
    ranges = parse_range(header, size)
    assert ranges is not None
    assert {n for r in ranges for n in range(r.start, r.stop)} == wanted
    assert all(left.stop < right.start for left, right in pairwise(ranges))
    assert all(r.start < r.stop for r in ranges)


@given(st.text(alphabet="bytes=0123456789-, \t\u0663x", max_size=40), st.integers(0, 100))
def test_parsing_never_fails_otherwise(header: str, size: int) -> None:
    try:
        ranges = parse_range(header, size)
    except RangeUnsatisfiable:
        return
    assert ranges is None or all(0 <= r.start < r.stop <= size for r in ranges)
