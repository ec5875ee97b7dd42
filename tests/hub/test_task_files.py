"""What download and delete tasks are about stays what it was when they began."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import requests
from tests.support.hub import RunningHub
from tests.support.seed import sign_up


def names(answer: requests.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return zipfile.ZipFile(io.BytesIO(answer.content)).namelist()


def test_a_download_outlives_the_deletion_of_its_files(hub: RunningHub, tmp_path: Path) -> None:
    user = sign_up(hub, tmp_path)
    user.upload("kept.txt", b"kept")
    (record,) = user.get("/api/v1/files").json()["items"]
    task = user.request("POST", "/api/v1/tasks", json={"kind": "download"}).json()
    content = f"/api/v1/tasks/{task['id']}/content"
    user.request("DELETE", f"/api/v1/files/{record['id']}")
    assert names(user.get(content)) == ["kept.txt"]
    user.request("DELETE", f"/api/v1/trash/{record['id']}")
    assert user.get(content).status_code == 404


def test_files_of_others_are_there_as_long_as_they_may_be_read(
    hub: RunningHub, tmp_path: Path
) -> None:
    user = sign_up(hub, tmp_path)
    user.upload("theirs.txt", b"theirs")
    (record,) = user.get("/api/v1/files").json()["items"]
    task = hub.post("/api/v1/tasks", json={"kind": "download", "ids": [record["id"]]}).json()
    content = f"/api/v1/tasks/{task['id']}/content"
    assert names(hub.get(content)) == ["theirs.txt"]
    user.request("DELETE", f"/api/v1/files/{record['id']}")
    assert hub.get(content).status_code == 404


def test_a_task_that_is_for_something_takes_no_upload(hub: RunningHub) -> None:
    for kind in ("download", "delete"):
        task = hub.post("/api/v1/tasks", json={"kind": kind, "glob": "no such file"}).json()
        facts = {"name": "x", "length": 1, "task": task["id"]}
        assert hub.post("/api/v1/uploads", json=facts).status_code == 409
        assert hub.get(f"/api/v1/tasks/{task['id']}").json()["kind"] == kind


def test_a_delete_is_carried_out_once(hub: RunningHub, tmp_path: Path) -> None:
    user = sign_up(hub, tmp_path)
    user.upload("back.txt", b"back")
    (record,) = user.get("/api/v1/files").json()["items"]
    task = user.request("POST", "/api/v1/tasks", json={"kind": "delete"}).json()
    for _ in range(2):
        done = user.request("POST", f"/api/v1/tasks/{task['id']}/delete").json()
        assert (done["state"], done["done"]) == ("completed", 1)
        user.request("POST", f"/api/v1/trash/{record['id']}/restore")
    assert user.names() == {"back.txt"}
