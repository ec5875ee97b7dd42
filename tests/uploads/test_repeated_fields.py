"""Fields that say what bytes are, twice: 400 in every protocol, and no byte is kept."""

from __future__ import annotations

import base64
import hashlib
import json

import pytest
from tests.support.hub import RunningHub
from tests.support.wire import FILES, listed, wire
from tests.uploads.conftest import Begin
from tests.uploads.speakers import CHUNK, TUS, Native, Rufh, Tus
from tests.uploads.wires import lines

SHA1 = base64.b64encode(hashlib.sha1(b"abc").digest()).decode()
SHA256 = base64.b64encode(hashlib.sha256(b"abc").digest()).decode()
SIZE = "Content-Length: 3"
PATCH = [*lines(TUS | CHUNK), SIZE]
CREATE = "Tus-Resumable: 1.0.0"
DRAFT = ["Upload-Draft-Interop-Version: 8", SIZE, "Upload-Complete: ?1"]


def twice(line: str, other: str = "") -> list[str]:
    """A field two times: the same, or with another value."""
    return [line, f"{line.split(':', maxsplit=1)[0]}: {other}" if other else line]


def status(hub: RunningHub, method: str, path: str, *fields: str, body: bytes = b"abc") -> int:
    with wire(hub) as connection:
        connection.send(connection.head(method, path, *fields) + body)
        answer = connection.answer(method)
        if answer.status == 400 and answer.body:
            assert json.loads(answer.body)["code"] == "invalid"
        return answer.status


@pytest.mark.parametrize(
    "repeated",
    [
        twice("Upload-Offset: 0"),
        twice("Upload-Offset: 0", "3"),
        ["Upload-Offset: 0", *twice(f"Upload-Checksum: sha1 {SHA1}")],
        ["Upload-Offset: 0", *twice(f"Upload-Checksum: sha1 {SHA1}", "sha1 AAAA")],
        ["Upload-Offset: 0", *twice("Upload-Length: 3")],
        ["Upload-Offset: 0", CREATE],
        ["Upload-Offset: 0", f"Content-Type: {CHUNK['Content-Type']}"],
    ],
)
def test_appending_by_tus(hub: RunningHub, tus: Begin, repeated: list[str]) -> None:
    upload = tus(3)
    assert status(hub, "PATCH", upload.path, *PATCH, *repeated) == 400
    assert upload.offset() == 0
    assert upload.append(0, b"abc").ok


@pytest.mark.parametrize(
    "repeated",
    [
        twice("Upload-Length: 3"),
        twice("Upload-Defer-Length: 1"),
        ["Upload-Length: 3", *twice("Upload-Concat: partial")],
        ["Upload-Length: 3", *twice("Upload-Concat: partial", "final;/uploads/x")],
        ["Upload-Length: 3", CREATE],
    ],
)
def test_beginning_by_tus(hub: RunningHub, repeated: list[str]) -> None:
    assert status(hub, "POST", "/uploads", CREATE, *repeated, body=b"") == 400


def test_a_trailer_and_a_head(hub: RunningHub, tus: Begin) -> None:
    upload = tus(3)
    fields = [*lines(TUS | CHUNK), "Upload-Offset: 0", "Trailer: Upload-Checksum"]
    chunked = [*fields, "Transfer-Encoding: chunked"]
    field = f"Upload-Checksum: sha1 {SHA1}\r\n".encode()
    body = b"3\r\nabc\r\n0\r\n"
    assert status(hub, "PATCH", upload.path, *chunked, body=body + field * 2 + b"\r\n") == 400
    assert upload.offset() == 0
    both = [*chunked, f"Upload-Checksum: sha1 {SHA1}"]
    assert status(hub, "PATCH", upload.path, *both, body=body + field + b"\r\n") == 400
    assert upload.offset() == 0
    assert status(hub, "PATCH", upload.path, *chunked, body=body + field + b"\r\n") == 204


def test_the_draft(hub: RunningHub) -> None:
    for repeated in (
        twice("Upload-Complete: ?1", "?0")[1:],
        twice(f"Repr-Digest: sha-256=:{SHA256}:"),
        twice("Upload-Length: 3"),
        ["Upload-Draft-Interop-Version: 7"],
        twice("Content-Disposition: attachment; filename=a", "attachment; filename=b"),
    ):
        path = "/uploads?name=draft-twice.bin"
        assert status(hub, "POST", path, *DRAFT, *repeated) == 400, repeated
    upload = Rufh(hub, "draft-offset.bin", 3)
    assert upload.create().status_code == 201
    patch = [*DRAFT, "Content-Type: application/partial-upload", *twice("Upload-Offset: 0")]
    assert status(hub, "PATCH", upload.path, *patch) == 400
    assert upload.offset() == 0
    assert listed(hub, "draft-twice.bin") == []


def test_native_routes_and_dialects(hub: RunningHub) -> None:
    upload = Native(hub, "native-twice.bin", 3)
    assert upload.create().status_code == 201
    digest = f"Content-Digest: sha-256=:{SHA256}:"
    assert status(hub, "PUT", f"{upload.path}/parts/0", SIZE, *twice(digest)) == 400
    assert upload.offset() == 0
    repr_digest = twice(f"Repr-Digest: sha-256=:{SHA256}:")
    assert status(hub, "POST", f"{FILES}?name=native-twice.bin", SIZE, *repr_digest) == 400
    assert listed(hub, "native-twice.bin") == []
    task = hub.post("/create_task").json()["task_id"]
    ranged = twice("Content-Range: bytes 0-2/6", "bytes 3-5/6")
    assert status(hub, "PUT", f"/upload_file/{task}?filename=x", SIZE, *ranged) == 400
    form = "Content-Type: multipart/form-data; boundary=x"
    body = (
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\nabc\r\n--x--\r\n'
    )
    size = f"Content-Length: {len(body)}"
    path = "/storage/tmp-upload/"
    assert status(hub, "PUT", path, form, size, *ranged, body=body) == 400


def test_once_is_right(hub: RunningHub) -> None:
    upload = Tus(hub, "once.bin", 3)
    assert upload.create().status_code == 201
    fields = ["Upload-Offset: 0", f"Upload-Checksum: sha1 {SHA1}"]
    assert status(hub, "PATCH", upload.path, *PATCH, *fields) == 204
