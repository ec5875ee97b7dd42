"""The tinydist dialect keeps users apart, and tokens to what they may do."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from requests import Response
from tests.support.hub import RunningHub


@pytest.fixture
def name() -> str:
    return f"{uuid.uuid4().hex}.bin"


def upload(hub: RunningHub, name: str, data: bytes = b"x", **fields: str) -> Response:
    return hub.post("/upload", files={"file": (name, data)}, data=fields)


def chunk(hub: RunningHub, name: str, index: int, data: bytes, **fields: Any) -> Response:
    told = {"filename": name, "chunkIndex": index, "totalChunks": 2} | fields
    return hub.post("/upload_chunk", files={"file": ("p", data)}, data=told)


@pytest.fixture
def alice(hub: RunningHub) -> RunningHub:
    return hub.user(f"alice-{uuid.uuid4().hex[:8]}")


@pytest.fixture
def bob(hub: RunningHub) -> RunningHub:
    return hub.user(f"bob-{uuid.uuid4().hex[:8]}")


def test_others_files_are_not_there(alice: RunningHub, bob: RunningHub, name: str) -> None:
    record = upload(alice, name, b"hers").json()["metadata"]
    assert alice.get("/metadata/list").json() == [record]
    assert bob.get("/metadata/list").json() == []
    for query in ({"id": record["id"]}, {"id": record["uuid"]}, {"filename": name}):
        assert bob.get("/files", params=query).status_code == 404
        assert bob.delete("/delete", params=query).status_code == 404
    assert upload(bob, name, b"his").json()["metadata"]["version"] == 1
    assert bob.delete("/delete", params={"filename": name}).status_code == 200
    assert alice.get("/files", params={"filename": name}).content == b"hers"


def test_chunks_of_two_users_do_not_mix(alice: RunningHub, bob: RunningHub, name: str) -> None:
    for user, first in ((alice, b"a"), (bob, b"b")):
        assert chunk(user, name, 0, first).json()["received"] == 1
    for user, whole in ((alice, b"a-"), (bob, b"b-")):
        assert chunk(user, name, 1, b"-").status_code == 201
        assert user.get("/files", params={"filename": name}).content == whole


def test_the_drop_is_for_admins(hub: RunningHub, alice: RunningHub, name: str) -> None:
    path = hub.data_dir / "drop" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"by hand")
    assert alice.delete("/delete", params={"filename": name}).status_code == 404
    assert path.exists()
    assert hub.delete("/delete", params={"filename": name}).status_code == 200


def test_a_reader_changes_nothing(hub: RunningHub, name: str) -> None:
    reader = hub.user(f"reader-{uuid.uuid4().hex[:8]}", "reader")
    assert upload(reader, name).status_code == 403
    assert chunk(reader, name, 0, b"x").status_code == 403
    assert reader.get("/metadata/list").json() == []
    for query in ("filename=x", "id=1"):
        assert reader.delete(f"/delete?{query}").status_code == 403


def test_a_limited_token_stays_in_its_place(hub: RunningHub, name: str) -> None:
    who = f"carol-{uuid.uuid4().hex[:8]}"
    limited = hub.user(who, places=[{"kind": "category", "value": "train"}])
    assert upload(limited, name).status_code == 403
    assert chunk(limited, name, 0, b"a").status_code == 403
    assert chunk(limited, name, 0, b"a", category="train").status_code == 200
    made = chunk(limited, name, 1, b"b", category="train")
    assert made.status_code == 201
    assert limited.get("/files", params={"filename": name}).content == b"ab"
    assert chunk(limited, name, 1, b"b", category="train").json() == made.json()
    assert hub.request("GET", "/metadata/list").status_code == 200
    assert limited.delete("/delete", params={"filename": name}).status_code == 200
