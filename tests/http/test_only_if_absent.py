"""M20: ``If-None-Match: *`` counts on every route that stores, in every protocol and dialect."""

from __future__ import annotations

import pytest
from tests.support.hub import RunningHub
from tests.support.wire import listed

ABSENT = {"If-None-Match": "*"}
TUS = ABSENT | {"Tus-Resumable": "1.0.0", "Content-Type": "application/offset+octet-stream"}
DRAFT = ABSENT | {"Upload-Draft-Interop-Version": "8", "Upload-Complete": "?1"}
NEW = b"new"


def form(name: str, **fields: str) -> dict[str, object]:
    return {"files": {"file": (name, NEW)}, "data": fields}


def files(hub: RunningHub, name: str) -> int:
    return hub.post("/api/v1/files", params={"name": name}, data=NEW, headers=ABSENT).status_code


def uploads(hub: RunningHub, name: str) -> int:
    new = {"name": name, "length": len(NEW)}
    return hub.post("/api/v1/uploads", json=new, headers=ABSENT).status_code


def tus(hub: RunningHub, name: str) -> int:
    named = {"Upload-Length": "3", "Upload-Metadata": "filename dGFrZW4udHh0"}
    assert name == "taken.txt"
    return hub.post("/uploads", data=NEW, headers=TUS | named).status_code


def resumable(hub: RunningHub, name: str) -> int:
    return hub.post("/uploads", params={"name": name}, data=NEW, headers=DRAFT).status_code


def tinydist(hub: RunningHub, name: str) -> int:
    return hub.post("/upload", headers=ABSENT, **form(name)).status_code


def tinydist_chunk(hub: RunningHub, name: str) -> int:
    fields = {"filename": name, "chunkIndex": "0", "totalChunks": "1"}
    return hub.post("/upload_chunk", headers=ABSENT, **form(name, **fields)).status_code


def datastore(hub: RunningHub, name: str) -> int:
    task = hub.post("/create_task").json()["task_id"]
    path = f"/upload_file/{task}"
    return hub.request("PUT", path, headers=ABSENT, **form(name)).status_code


def fileserver(hub: RunningHub, name: str) -> int:
    return hub.request("PUT", f"/upload={name}", data=NEW, headers=ABSENT).status_code


def storage(hub: RunningHub, name: str) -> int:
    return hub.post("/storage/tmp-upload/", headers=ABSENT, **form(name)).status_code


@pytest.mark.parametrize(
    "store",
    [files, uploads, tus, resumable, tinydist, tinydist_chunk, datastore, fileserver, storage],
)
def test_m20_a_name_that_is_taken_stays_as_it_is(hub: RunningHub, store: object) -> None:
    name = "taken.txt"
    if not listed(hub, name):
        hub.store(name, b"old")
    assert store(hub, name) == 412  # type: ignore[operator]
    (record,) = listed(hub, name)
    assert record["version"] == 1
    assert hub.get(record["url"]).content == b"old"
