"""Creation With Upload."""

from __future__ import annotations

import base64

from dsx.testing.tus.outcome import expect
from dsx.testing.tus.registry import Section
from dsx.testing.tus.target import OFFSET_TYPE, Target
from dsx.testing.tus.wire import Connection, Response

WITH_UPLOAD = Section("Creation With Upload", "creation", "creation-with-upload")

DATA = b"0123456789"


def _post(tus: Target, length: int | None, body: bytes, **more: str | None) -> Response:
    size = {"Upload-Defer-Length": "1"} if length is None else {"Upload-Length": str(length)}
    fields = {"Content-Type": OFFSET_TYPE, **size}
    return tus.post({**fields, **{k.replace("_", "-"): v for k, v in more.items()}}, body)


def _accepted(tus: Target, answer: Response) -> int:
    """Return the offset in the response to a creation, which must equal the one in HEAD."""
    url, offset = tus.location(answer), answer.number("Upload-Offset")
    tus.must_have(url, offset, f"Upload-Offset {offset} in the response to POST")
    return offset


@WITH_UPLOAD.must()
def with_upload_whole(tus: Target) -> None:
    """The whole data in POST: 201, Upload-Offset is what was accepted."""
    answer = _post(tus, 10, DATA)
    offset = _accepted(tus, answer)
    expect(offset <= len(DATA), f"Upload-Offset {offset} of 10")


@WITH_UPLOAD.must()
def with_upload_chunk(tus: Target) -> None:
    """A chunk in POST: the upload continues with PATCH at the returned offset."""
    answer = _post(tus, 10, DATA[:4])
    url, offset = tus.location(answer), _accepted(tus, answer)
    tus.patch(url, offset, DATA[offset:]).must_be(204)
    tus.must_have(url, 10, "the rest")


@WITH_UPLOAD.should()
def with_upload_accepts_all(tus: Target) -> None:
    """As many bytes as possible are accepted."""
    for body in (DATA, DATA[:4]):
        offset = _accepted(tus, _post(tus, 10, body))
        expect(offset == len(body), f"{offset} of {len(body)} bytes")


@WITH_UPLOAD.must()
def with_upload_bytes(tus: Target) -> None:
    """The bytes are those of the body (read back by GET)."""
    url = tus.location(_post(tus, 10, DATA[:4]))
    offset = tus.offset(url)
    tus.patch(url, offset, DATA[offset:]).must_be(204)
    expect(tus.content(url) == DATA, "other bytes came back")


@WITH_UPLOAD.must()
def with_upload_metadata(tus: Target) -> None:
    """Upload-Metadata counts as in any creation."""
    answer = _post(tus, 10, DATA, Upload_Metadata="filename YS5iaW4=")
    found = tus.state(tus.location(answer)).text("Upload-Metadata")
    expect(found == "filename YS5iaW4=", f"Upload-Metadata: {found}")


@WITH_UPLOAD.must()
def with_upload_empty(tus: Target) -> None:
    """An upload of 0 bytes with an empty body: 201, complete."""
    answer = _post(tus, 0, b"")
    tus.must_have(tus.location(answer), 0, "an empty body")


@WITH_UPLOAD.should()
def with_upload_wrong_type(tus: Target) -> None:
    """As in PATCH: Content-Type wrong: 415."""
    _post(tus, 10, DATA, Content_Type="text/plain").must_be(415)


@WITH_UPLOAD.must()
def with_upload_beyond_length(tus: Target) -> None:
    """More bytes than Upload-Length: the offset never goes beyond it."""
    answer = _post(tus, 5, DATA)
    if answer.get("Location") is None:
        answer.must_refuse()
        return
    state = tus.state(tus.location(answer.must_be(201)))
    found = state.number("Upload-Offset"), state.number("Upload-Length")
    expect(found[0] <= found[1] == len(b"01234"), f"offset and length {found}")


@WITH_UPLOAD.must("creation-defer-length")
def with_upload_deferred(tus: Target) -> None:
    """A chunk in POST, length deferred: the length is declared by a later PATCH."""
    answer = _post(tus, None, DATA[:4])
    url, offset = tus.location(answer), _accepted(tus, answer)
    tus.patch(url, offset, DATA[offset:], {"Upload-Length": "10"}).must_be(204)
    tus.must_have(url, 10, "the rest")


@WITH_UPLOAD.should("checksum")
def with_upload_checksum(tus: Target) -> None:
    """As in PATCH: a checksum that does not match the body is noticed."""
    wrong = "sha1 " + base64.b64encode(b"\0" * 20).decode()
    answer = _post(tus, 10, DATA, Upload_Checksum=wrong).must_refuse()
    if answer.get("Location") is not None:
        tus.must_have(tus.url_in(answer), 0, "a wrong checksum")


@WITH_UPLOAD.should()
def with_upload_expect(tus: Target) -> None:
    """Expect: 100-continue is answered before the body is sent."""
    fields = {"Content-Type": OFFSET_TYPE, "Upload-Length": "10", "Expect": "100-continue"}
    with Connection(tus.url) as line:
        line.send(tus.head_bytes("POST", tus.url, fields, len(DATA)))
        line.head().must_be(100)
        line.send(DATA)
        answer = line.response("POST")
    tus.made(answer)
    _accepted(tus, answer.must_be(201))


@WITH_UPLOAD.may()
def with_upload_early_no(tus: Target) -> None:
    """Expect: 100-continue for a refused request: the refusal comes before the body."""
    fields = {"Content-Type": OFFSET_TYPE, "Upload-Length": "-1", "Expect": "100-continue"}
    with Connection(tus.url) as line:
        line.send(tus.head_bytes("POST", tus.url, fields, len(DATA)))
        line.head().must_refuse()
