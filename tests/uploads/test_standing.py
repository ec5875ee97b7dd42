"""What becomes of transfers that are paused, left, taken over, or ended by an admin."""

from __future__ import annotations

import threading
import time
import uuid
from typing import Any

import pytest
import requests
from tests.support.digests import sha256
from tests.support.hub import RunningHub
from tests.support.waiting import eventually, in_time
from tests.support.wire import FILES, listed, wire
from tests.uploads.conftest import noise
from tests.uploads.speakers import CHUNK, TUS, Native, Rufh, Speaker, Tus, id_of, path_of

KIB = 1024
TASKS = "/api/v1/tasks"
UPLOADS = "/api/v1/uploads"


def order(hub: RunningHub, id_: str, what: str) -> dict[str, Any]:
    answer = hub.post(f"{TASKS}/{id_}/{what}")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def state(hub: RunningHub, id_: str) -> str:
    return str(hub.get(f"{TASKS}/{id_}").json()["state"])


def paused(kind: type[Speaker], hub: RunningHub, data: bytes) -> Speaker:
    """An upload that was paused when its last bytes had just been sent, but not been answered."""
    upload = kind(hub, f"{uuid.uuid4().hex}.bin", len(data))
    assert upload.create().status_code == 201
    method, path, fields = upload.head_of(0, len(data), last=True)
    lines = [f"{name}: {value}" for name, value in fields.items()]
    with wire(hub) as connection:
        head = connection.head(method, path, *lines, f"Content-Length: {len(data)}")
        connection.send(head + data[:-1])
        id_ = id_of(upload.path)
        eventually(lambda: hub.get(f"{UPLOADS}/{id_}").json()["offset"] == len(data) - 1)
        order(hub, id_, "pause")
        time.sleep(0.5)  # whoever carries it has seen that
        connection.send(data[-1:])
        time.sleep(0.5)
        assert listed(hub, upload.name) == []
    return upload


@pytest.mark.parametrize("kind", [Native, Tus, Rufh])
def test_a_paused_upload_is_not_finished(hub: RunningHub, kind: type[Speaker]) -> None:
    """Though all its bytes have come; it is when it is resumed, if nobody has to ask for that."""
    data = noise(64 * KIB)
    upload = kind(hub, f"{uuid.uuid4().hex}.bin", len(data))
    assert upload.create().status_code == 201
    id_ = id_of(upload.path)
    part = hub.request("PUT", f"{UPLOADS}/{id_}/parts/0", data=data)
    assert part.status_code == 200
    order(hub, id_, "pause")
    assert upload.offset() == len(data)
    if kind is not Tus:
        told = upload.append(len(data), b"", last=True) if kind is Rufh else None
        told = told or hub.post(f"{UPLOADS}/{id_}/finish")
        assert (told.status_code, told.json()["code"]) == (409, "paused")
    assert listed(hub, upload.name) == []
    assert state(hub, id_) == "paused"
    order(hub, id_, "resume")
    if kind is Tus:
        assert [item["sha256"] for item in listed(hub, upload.name)] == [sha256(data)]
    assert upload.finish()["sha256"] == sha256(data)


def test_a_paused_upload_whose_last_byte_comes_is_not_finished(hub: RunningHub) -> None:
    data = noise(64 * KIB)
    upload = paused(Tus, hub, data)
    order(hub, id_of(upload.path), "resume")
    if upload.offset() < len(data):  # the byte that came during the pause was not taken
        assert upload.append(len(data) - 1, data[-1:]).ok
    assert upload.finish()["sha256"] == sha256(data)


def test_paused_finals_and_tasks_are_finished_when_resumed(hub: RunningHub) -> None:
    fields = TUS | {"Upload-Concat": "partial", "Upload-Length": "3"}
    part = path_of(hub.post("/uploads", headers=fields))
    final = hub.post("/uploads", headers=TUS | {"Upload-Concat": f"final;{part}"})
    id_ = id_of(path_of(final))
    order(hub, id_, "pause")
    send = TUS | CHUNK | {"Upload-Offset": "0"}
    assert hub.request("PATCH", part, headers=send, data=b"abc").status_code == 204
    assert hub.get(f"{UPLOADS}/{id_}").json()["state"] == "open"
    order(hub, id_, "resume")
    assert hub.get(f"{UPLOADS}/{id_}").json()["file"]["sha256"] == sha256(b"abc")


def test_an_upload_that_is_left_is_waiting(hub: RunningHub) -> None:
    """It is not said to run once its client is gone, and does again when it is back."""
    data = noise(64 * KIB)
    upload = Native(hub, "left.bin", len(data))
    assert upload.create().status_code == 201
    id_ = id_of(upload.path)
    with wire(hub) as connection:
        head = connection.head("PUT", f"{upload.path}/parts/0", f"Content-Length: {len(data)}")
        connection.send(head + data[:1000])
        eventually(lambda: upload.offset() == 1000)
        assert state(hub, id_) == "running"
    eventually(lambda: state(hub, id_) == "waiting")
    shown = {item["id"]: item["state"] for item in hub.get(TASKS).json()["items"]}
    assert shown[id_] == "waiting"
    assert upload.append(1000, data[1000:]).ok
    assert state(hub, id_) == "running"
    upload.finish()
    assert state(hub, id_) == "completed"


def test_a_download_that_is_left_is_waiting(hub: RunningHub) -> None:
    hub.store("large-to-leave.bin", noise(8 * KIB * KIB))
    new = {"kind": "download", "glob": "large-to-leave.bin"}
    id_ = hub.post(TASKS, json=new).json()["id"]
    with wire(hub, receive_buffer=4096) as connection:
        connection.send(connection.head("GET", f"{TASKS}/{id_}/content"))
        eventually(lambda: state(hub, id_) == "running")
    eventually(lambda: state(hub, id_) == "waiting")
    assert hub.get(f"{TASKS}/{id_}/content").ok
    eventually(lambda: state(hub, id_) == "completed")


def test_a_put_takes_over_from_a_client_that_vanished(hub: RunningHub) -> None:
    """Its connection is still there, as after a cut cable; nothing comes on it any more."""
    data = noise(256 * KIB)
    task = hub.post("/create_task").json()["task_id"]
    path = f"/upload_file/{task}?filename=vanished.bin"
    with wire(hub) as connection:
        head = connection.head("PUT", path, f"Content-Length: {len(data)}")
        connection.send(head + data[:1000])
        eventually(lambda: hub.get(f"/task/{task}").json()["done"] == 1000)
        begun = time.monotonic()
        answer = hub.request("PUT", path, data=data)
        assert (answer.status_code, answer.json()["sha256"]) == (201, sha256(data))
        assert time.monotonic() - begun < 20  # not DSX_STALL_TIMEOUT


def test_a_put_beside_one_that_is_sending_is_refused(hub: RunningHub) -> None:
    """S1.17: as long as bytes come, however slowly."""
    data = noise(64 * KIB)
    task = hub.post("/create_task").json()["task_id"]
    path = f"/upload_file/{task}?filename=slow.bin"
    answers: list[requests.Response] = []
    with wire(hub) as connection:
        head = connection.head("PUT", path, f"Content-Length: {len(data)}")
        connection.send(head + data[:1000])
        sent = 1000
        eventually(lambda: hub.get(f"/task/{task}").json()["done"] == 1000)

        def beside() -> None:
            answers.append(hub.request("PUT", path, data=data))

        second = threading.Thread(target=beside)
        second.start()
        while second.is_alive() and sent < len(data) - 1:
            connection.send(data[sent : sent + 1])
            sent += 1
            time.sleep(0.1)
        second.join()
        assert answers[0].status_code == 409, answers[0].text
        connection.send(data[sent:])
        assert connection.answer().status == 201


def test_an_admin_lists_and_ends_anyones(hub: RunningHub) -> None:
    name = f"u{uuid.uuid4().hex[:10]}"
    member = hub.user(name)
    owner = member.get("/api/v1/account").json()["id"]
    theirs = [Native(member, f"theirs-{n}.bin", 6) for n in range(3)]
    for upload in theirs:
        assert upload.create().status_code == 201
        assert upload.append(0, b"abc").ok
    task = member.post(TASKS, json={}).json()["id"]
    ids = {id_of(upload.path) for upload in theirs}

    def everyones(path: str) -> set[str]:
        found = []
        query = {"everyone": "true", "limit": "1000"}
        for _ in range(100):
            page = hub.get(path, params=query).json()
            found += page["items"]
            if page["next"] is None:
                break
            query["before" if path == TASKS else "after"] = page["next"]
        return {item["id"] for item in found if item["owner"] == owner}

    assert everyones(UPLOADS) == ids
    assert everyones(TASKS) == ids | {task}
    assert not ids & {item["id"] for item in hub.get(UPLOADS).json()["items"]}
    for path in (UPLOADS, TASKS):
        assert member.get(path, params={"everyone": "true"}).status_code == 403
    stranger = hub.user(f"s{uuid.uuid4().hex[:10]}")
    for path in (theirs[0].path, f"{TASKS}/{task}"):
        assert stranger.delete(path).status_code in {404, 405}
    assert stranger.post(f"{TASKS}/{task}/abort").status_code == 404
    assert hub.delete(theirs[0].path).status_code == 204
    assert hub.delete(f"/uploads/{id_of(theirs[1].path)}", headers=TUS).status_code == 204
    assert order(hub, id_of(theirs[2].path), "abort")["state"] == "aborted"
    assert order(hub, task, "abort")["state"] == "aborted"
    assert everyones(UPLOADS) == set()
    for upload in theirs:
        assert member.get(upload.path).status_code == 410
    noted = hub.get("/api/v1/audit", params={"limit": "1000"}).json()["items"]
    assert ids <= {item["target"] for item in noted}


def test_emptying_the_trash_goes_on_as_a_task(hub: RunningHub) -> None:
    name = f"t{uuid.uuid4().hex[:10]}"
    member = hub.user(name)
    for number in range(3):
        record = member.store(f"{number}.txt", b"x")
        assert member.delete(f"{FILES}/{record['id']}").ok
    answer = member.delete("/api/v1/trash", params={"confirm": "all"})
    assert (answer.status_code, answer.json()) == (200, {"purged": 3, "task": None})
    (task,) = member.get(TASKS).json()["items"]
    assert (task["kind"], task["state"], task["done"]) == ("empty", "completed", 3)
    assert in_time(lambda: not member.get("/api/v1/trash").json()["items"])
