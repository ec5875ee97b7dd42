"""Bytes that were announced with a digest (RFC 9530): stored if they have it, else refused."""

from __future__ import annotations

import base64
import hashlib

import pytest
from tests.support.hub import RunningHub
from tests.support.wire import listed

RIGHT = base64.b64encode(hashlib.sha256(b"data").digest()).decode()
WRONG = base64.b64encode(hashlib.sha256(b"other").digest()).decode()


@pytest.mark.parametrize(
    ("digest", "status"),
    [(RIGHT, 201), (WRONG, 422), ("AAAA", 400), ("", 400)],
    ids=["right", "wrong", "short", "empty"],
)
def test_bytes_are_stored_if_they_are_the_announced_ones(
    hub: RunningHub, digest: str, status: int
) -> None:
    name = f"announced-{status}-{len(digest)}"
    fields = {"Repr-Digest": f"sha-256=:{digest}:"}
    answer = hub.post("/api/v1/files", params={"name": name}, data=b"data", headers=fields)
    assert answer.status_code == status
    assert len(listed(hub, name)) == (status == 201)
