"""multipart/form-data, well and badly made."""

from __future__ import annotations

import os

import pytest
from tests.support.hub import RunningHub
from tests.support.waiting import in_time
from tests.support.wire import (
    FILES,
    Answer,
    content,
    healthy,
    listed,
    staged,
    wire,
)

DATA = os.urandom(700_000) + b"\r\n--limi\r\n--limit\r\n-\r\n\r\n" + os.urandom(1000)
FORM = "Content-Type: multipart/form-data; boundary=limit-of-form"


def part(name: str, data: bytes, *, filename: str | None = None, extra: str = "") -> bytes:
    head = f'Content-Disposition: form-data; name="{name}"'
    if filename is not None:
        head += f'; filename="{filename}"'
    return f"--limit-of-form\r\n{head}\r\n{extra}\r\n".encode() + data + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--limit-of-form--\r\n"


def posted(hub: RunningHub, body: bytes, *fields: str) -> Answer:
    """Post *body*, and see that the connection is either closed or good for another request."""
    with wire(hub) as client:
        length = f"Content-Length: {len(body)}"
        client.send(client.head("POST", FILES, length, *(fields or (FORM,))) + body)
        answer = client.answer()
        if answer.headers.get("connection") == "close":
            assert client.ended()
        else:
            assert client.ask("GET", "/health").status == 200
        return answer


def refused(hub: RunningHub, status: int, body: bytes, *fields: str) -> None:
    answer = posted(hub, body, *fields)
    assert answer.status == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert in_time(lambda: not staged(hub))
    assert not listed(hub, "http-form-bad")


FILE = part("file", DATA, filename="http-form.bin", extra="Content-Type: text/x-mine\r\n")
BAD = part("file", b"data", filename="http-form-bad")
FIELDS = [
    part("category", b"train"),
    part("tag", b"one"),
    part("tag", "zwölf".encode()),
    part("metadata", b'{"k": [1, null]}'),
]


@pytest.mark.parametrize(
    "parts",
    [[*FIELDS, FILE], [FILE, *FIELDS], [*FIELDS[:2], FILE, *FIELDS[2:]]],
    ids=["before", "after", "around"],
)
def test_fields_come_before_or_after_the_file(hub: RunningHub, parts: list[bytes]) -> None:
    assert posted(hub, form(*parts)).status == 201
    record = listed(hub, "http-form.bin")[0]
    assert record["category"] == "train"
    assert sorted(record["tags"]) == ["one", "zwölf"]
    assert record["metadata"] == {"k": [1, None]}
    assert record["content_type"] == "text/x-mine"
    assert hub.get(content(record)).content == DATA


def test_a_name_field_goes_before_the_file_name(hub: RunningHub) -> None:
    name = part("name", "http-form-ünï".encode())
    assert posted(hub, form(name, part("file", b"x", filename="other"))).status == 201
    assert listed(hub, "http-form-ünï")


def test_a_unicode_file_name(hub: RunningHub) -> None:
    assert posted(hub, form(part("file", b"x", filename="http-form-日本.bin"))).status == 201
    assert listed(hub, "http-form-日本.bin")


def test_an_empty_file(hub: RunningHub) -> None:
    assert posted(hub, form(part("file", b"", filename="http-form-empty"))).status == 201
    assert listed(hub, "http-form-empty")[0]["size"] == 0


def test_a_quoted_boundary_a_preamble_and_an_epilogue(hub: RunningHub) -> None:
    field = 'Content-Type: Multipart/Form-Data; charset=utf-8; boundary="limit-of-form"'
    body = b"\r\n" + form(part("file", b"x", filename="http-form-quoted")) + b"\r\n"
    assert posted(hub, body, field).status == 201
    assert listed(hub, "http-form-quoted")


def test_a_form_one_byte_at_a_time(hub: RunningHub) -> None:
    body = form(*FIELDS, part("file", b"\r\n--limit-of\r\n", filename="http-form-slow"))
    with wire(hub) as client:
        client.send(client.head("POST", FILES, FORM, "Transfer-Encoding: chunked"))
        for position in range(len(body)):
            client.send(b"1\r\n" + body[position : position + 1] + b"\r\n")
        client.send(b"0\r\n\r\n")
        assert client.answer().status == 201
    (record,) = listed(hub, "http-form-slow")
    assert hub.get(content(record)).content == b"\r\n--limit-of\r\n"


BADLY_MADE = {
    "no file part": form(*FIELDS),
    "no part at all": form(),
    "two file parts": form(BAD, BAD),
    "two file parts after all": form(BAD, *FIELDS, BAD),
    "another boundary": form(BAD).replace(b"limit-of-form", b"limit-of-other"),
    "empty": b"",
    "garbage": os.urandom(1000),
    "cut off in a head": form(BAD)[:40],
    "cut off in the file": form(BAD)[:-25],
    "cut off before the end": form(BAD)[:-4],
    "no name": form(BAD.replace(b'; name="file"', b"")),
    "no disposition": form(BAD.replace(b"Content-Disposition", b"Content-Decision")),
    "bad header": form(BAD.replace(b"Content-Disposition", b"Content Disposition\x00")),
    "text not UTF-8": form(part("category", b"\xff\xfe"), BAD),
    "name not UTF-8": form(BAD.replace(b"http-form-bad", b"http-\xff\xfe")),
    "field name not UTF-8": form(BAD, part("X", b"").replace(b"X", b"\xc3\x28")),
    "metadata no JSON": form(BAD, part("metadata", b"{")),
    "metadata no object": form(BAD, part("metadata", b"[1]")),
    "metadata too deep": form(BAD, part("metadata", b"[" * 60_000)),
}


@pytest.mark.parametrize("body", BADLY_MADE.values(), ids=BADLY_MADE)
def test_a_form_badly_made(hub: RunningHub, body: bytes) -> None:
    refused(hub, 400, body)


@pytest.mark.parametrize(
    "field",
    [
        "Content-Type: multipart/form-data",
        "Content-Type: multipart/form-data; boundary=",
        'Content-Type: multipart/form-data; boundary=""',
        "Content-Type: multipart/form-data; boundary=other",
        "Content-Type: multipart/form-data; boundary=" + "x" * 5000,
        "Content-Type: multipart/form-data; boundary=\xff\xfe",
    ],
)
def test_a_boundary_that_is_missing_or_wrong(hub: RunningHub, field: str) -> None:
    refused(hub, 400, form(BAD), field)


def test_no_name_anywhere(hub: RunningHub) -> None:
    refused(hub, 422, form(part("file", b"data")))
    refused(hub, 422, form(part("file", b"data", filename="")))


HUGE = {
    "huge field": form(part("category", bytes(65_537)), BAD),
    "huge field after": form(BAD, part("category", b"x" * 8_000_000)),
    "400 parts": form(*(part(f"f{n}", b"") for n in range(400)), BAD),
    "400 parts after": form(BAD, *(part("tag", b"x") for _ in range(400))),
    "huge part name": form(part("x" * 10_000_000, b""), BAD),
    "huge part header": form(BAD.replace(b"form-data;", b"form-data; x=" + b"y" * 5_000_000)),
    "many part headers": form(BAD.replace(b"\r\n\r\n", b"\r\nX-A: b" * 200_000 + b"\r\n\r\n", 1)),
}


@pytest.mark.parametrize("body", HUGE.values(), ids=HUGE)
def test_a_form_too_big(hub: RunningHub, body: bytes) -> None:
    answer = posted(hub, body)
    assert answer.status in {400, 413}
    assert in_time(lambda: not staged(hub))
    assert not listed(hub, "http-form-bad")
    assert healthy(hub)


def test_many_fields_within_the_limit(hub: RunningHub) -> None:
    fields = [part("other", b"x" * 3_500) for _ in range(298)]  # 1 MiB of text in all
    body = form(*fields, part("name", b"http-form-many"), part("file", b"x"))
    assert posted(hub, body).status == 201
    assert listed(hub, "http-form-many")
