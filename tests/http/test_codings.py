"""M20: compressed bodies are never taken for the bytes of a file, whatever route they come by."""

from __future__ import annotations

import gzip

import pytest
from tests.http.bodies import routes_with_bodies
from tests.support.hub import RunningHub
from tests.support.wire import Answer, wire

PACKED = gzip.compress(b"the bytes of a file")
TUS = ("Tus-Resumable: 1.0.0", "Content-Type: application/offset+octet-stream")
DRAFT = ("Upload-Draft-Interop-Version: 8", "Upload-Complete: ?1")
PARTIAL = "Content-Type: application/partial-upload"
RESUMABLE = [
    ("POST", "/uploads", (*TUS, f"Upload-Length: {len(PACKED)}")),
    ("PATCH", "/uploads/1", (*TUS, "Upload-Offset: 0")),
    ("POST", "/uploads", DRAFT),
    ("PUT", "/uploads", DRAFT),
    (
        "PATCH",
        "/uploads/1",
        (*DRAFT, "Upload-Offset: 0", "Content-Type: application/partial-upload"),
    ),
]


def send(hub: RunningHub, method: str, path: str, *fields: str, body: bytes = PACKED) -> Answer:
    with wire(hub) as connection:
        length = f"Content-Length: {len(body)}"
        connection.send(connection.head(method, path, length, *fields) + body)
        return connection.answer(method)


@pytest.mark.parametrize("coding", ["gzip", "x-gzip", "deflate", "br", "zstd", "identity, GZIP"])
def test_m20_no_route_takes_a_compressed_body(hub: RunningHub, coding: str) -> None:
    listed = [
        (route.method, route.path, (f"Content-Type: {route.kind}",))
        for route in routes_with_bodies(hub)
    ]
    for method, path, fields in listed + RESUMABLE:
        answer = send(hub, method, path, *fields, f"Content-Encoding: {coding}")
        assert answer.status == 415, (method, path, answer)
        assert answer.headers["accept-encoding"] == "identity"
        assert "tus-resumable" in answer.headers or TUS[0] not in fields


def test_m20_nothing_of_it_is_stored(hub: RunningHub) -> None:
    answer = hub.post(
        "/api/v1/files",
        params={"name": "packed.txt"},
        data=PACKED,
        headers={"Content-Encoding": "gzip"},
    )
    assert answer.status_code == 415
    assert answer.json()["code"] == "unsupported"
    assert hub.get("/api/v1/files", params={"name": "packed.txt"}).json()["items"] == []


def test_m20_identity_is_no_coding(hub: RunningHub) -> None:
    answer = send(
        hub, "POST", "/api/v1/files?name=plain.gz", "Content-Encoding: identity", body=PACKED
    )
    assert answer.status == 201
    stored = hub.get("/api/v1/files", params={"name": "plain.gz"}).json()["items"][0]
    assert hub.get(stored["url"]).content == PACKED


@pytest.mark.parametrize("field", ["Content-Encoding: gzip", "Content-Transfer-Encoding: base64"])
def test_m20_a_part_of_a_form_is_not_encoded_either(hub: RunningHub, field: str) -> None:
    head = 'Content-Disposition: form-data; name="file"; filename="part.txt"'
    body = f"--b\r\n{head}\r\n{field}\r\n\r\nYQ==\r\n--b--\r\n".encode()
    kind = "Content-Type: multipart/form-data; boundary=b"
    for method, path in (
        ("POST", "/api/v1/files"),
        ("POST", "/upload"),
        ("POST", "/upload_chunk"),
        ("PUT", "/upload=part.txt"),
        ("PUT", "/storage/tmp-upload/"),
        ("POST", "/storage/tmp-upload/"),
    ):
        answer = send(hub, method, path, kind, body=body)
        assert answer.status == 415, (path, answer)
    assert hub.get("/api/v1/files", params={"name": "part.txt"}).json()["items"] == []


@pytest.mark.parametrize("coding", ["gzip, chunked", "deflate, chunked", "identity, chunked"])
def test_m20_a_transfer_coding_besides_chunked_is_refused(hub: RunningHub, coding: str) -> None:
    body = b"%x\r\n" % len(PACKED) + PACKED + b"\r\n0\r\n\r\n"
    with wire(hub) as connection:
        fields = connection.head(
            "POST", "/api/v1/files?name=moved.txt", f"Transfer-Encoding: {coding}"
        )
        connection.send(fields + body)
        assert connection.answer().status == 415
    assert hub.get("/api/v1/files", params={"name": "moved.txt"}).json()["items"] == []
