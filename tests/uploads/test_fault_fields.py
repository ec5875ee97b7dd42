"""Faults of what a request says: lengths, names, metadata, what is to be joined.

Numbers are those of `test_faults`.
"""

from __future__ import annotations

import pytest
from tests.support.hub import RunningHub
from tests.uploads.conftest import Begin
from tests.uploads.speakers import (
    INTEROP,
    SPEAKERS,
    TUS,
    Rufh,
    encoded,
    path_of,
)
from tests.uploads.wires import dial, lines


def test_16_zero_bytes(begin: Begin) -> None:
    speaker = begin(0)
    if isinstance(speaker, Rufh):
        assert speaker.append(0, b"", last=True).status_code == 201
    assert speaker.finish()["size"] == 0
    assert speaker.offset() == 0


@pytest.mark.parametrize("length", [2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**32 + 1, 2**53])
def test_17_lengths_are_exact(hub: RunningHub, length: int) -> None:
    for kind in SPEAKERS:
        speaker = kind(hub, f"f17-{kind.__name__}-{length}", length)
        answer = speaker.create()
        if answer.status_code == 507:
            assert answer.json()["details"]["needed"] == length
            continue
        found = hub.get(f"/api/v1/uploads/{speaker.path.rsplit('/', 1)[1]}").json()["length"]
        assert found == length
        assert speaker.abort().status_code == 204


@pytest.mark.parametrize("length", ["-1", "+5", "5.0", "1e3", "0x10", "9" * 30, "", " ", "٣"])
def test_18_lengths_that_are_none(hub: RunningHub, length: str) -> None:
    for fields in (TUS, INTEROP | {"Upload-Complete": "?0"}):
        wire = dial(hub)
        sent = [*lines(fields), f"Upload-Length: {length}", "Content-Length: 0"]
        wire.send(wire.head("POST", "/uploads", *sent))
        assert wire.answer().status == 400
    if length.strip("-+. ").isdecimal() and length.isascii():
        body = f'{{"name": "f18", "length": {length}}}'
        assert hub.post("/api/v1/uploads", data=body).status_code in {400, 422}


def test_18_duplicate_length(hub: RunningHub) -> None:
    wire = dial(hub)
    fields = [*lines(TUS), "Upload-Length: 5", "Upload-Length: 6", "Content-Length: 0"]
    wire.send(wire.head("POST", "/uploads", *fields))
    assert wire.answer().status == 400


@pytest.mark.parametrize(
    "name", ["../x", "a/../b", "/etc/passwd", "a\0b", "a\\b", "CON", "nul.txt"]
)
def test_19_names_that_are_dangerous(hub: RunningHub, name: str) -> None:
    assert hub.post("/api/v1/uploads", json={"name": name, "length": 1}).status_code == 400
    fields = TUS | {"Upload-Length": "1", "Upload-Metadata": encoded(filename=name)}
    assert hub.post("/uploads", headers=fields).status_code == 400
    fields = INTEROP | {"Upload-Complete": "?0", "Upload-Length": "1"}
    assert hub.post("/uploads", headers=fields, params={"name": name}).status_code == 400


@pytest.mark.parametrize(
    "name",
    ["caf\u00e9", "cafe\u0301", "\u05e9\u05dc\u05d5\u05dd", "n" * 251 + ".txt", "\U0001f98a.png"],
)
def test_20_names_of_the_world(hub: RunningHub, name: str) -> None:
    fields = TUS | {"Upload-Length": "0", "Upload-Metadata": encoded(filename=name)}
    location = hub.post("/uploads", headers=fields).headers["Location"]
    file = hub.get(f"/api/v1/uploads/{location.rsplit('/', 1)[1]}").json()["file"]
    assert file["name"] == name
    disposition = hub.get(file["url"]).headers["Content-Disposition"]
    assert name.isascii() or "filename*=UTF-8''" in disposition


@pytest.mark.parametrize(
    "url",
    [
        "/uploads/../../etc/passwd",
        "/uploads/..%2f..%2fetc",
        "http://elsewhere.example/uploads/{id}",
        "//elsewhere.example/uploads/{id}",
        "/uploads/{id}?x=1",
        "/uploads/unknown",
        "file:///uploads/{id}",
    ],
)
def test_21_concatenation_of_what_is_elsewhere(hub: RunningHub, url: str) -> None:
    fields = TUS | {"Upload-Length": "0", "Upload-Concat": "partial"}
    id_ = hub.post("/uploads", headers=fields).headers["Location"].rsplit("/", 1)[1]
    fields = TUS | {"Upload-Concat": f"final;{url.format(id=id_)}"}
    assert hub.post("/uploads", headers=fields).status_code in {400, 403}


def test_22_partials_that_cannot_be_joined(hub: RunningHub, tus: Begin) -> None:
    """Unfinished ones can, that is an extension of its own; others than partials cannot."""
    fields = TUS | {"Upload-Length": "5", "Upload-Concat": "partial"}
    partial = path_of(hub.post("/uploads", headers=fields))
    final = hub.post("/uploads", headers=TUS | {"Upload-Concat": f"final;{partial}"})
    assert final.status_code == 201
    assert "Upload-Offset" not in hub.request("HEAD", path_of(final), headers=TUS).headers
    whole = tus(5)
    answer = hub.post("/uploads", headers=TUS | {"Upload-Concat": f"final;{whole.path}"})
    assert answer.status_code == 400
    hub.delete(partial, headers=TUS)
    answer = hub.post("/uploads", headers=TUS | {"Upload-Concat": f"final;{partial}"})
    assert answer.status_code == 400


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("filename n@t-base64", 400),
        ("filename YWJj,filename YWJj", 400),
        ("filename YWJj,,x YQ==", 400),
        (encoded(filename="a\r\nX-Injected: 1"), 400),
        ("", 201),
        ("empty", 201),
        ("é YQ==", 400),
    ],
)
def test_29_metadata(hub: RunningHub, header: str, status: int) -> None:
    wire = dial(hub)
    fields = [*lines(TUS), "Upload-Length: 1", "Content-Length: 0", f"Upload-Metadata: {header}"]
    wire.send(wire.head("POST", "/uploads", *fields))
    answer = wire.answer()
    assert answer.status == status
    assert "x-injected" not in {name.lower() for name in answer.headers}
