"""H6: what is on its way counts against the quota, and more than that is not taken."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from tests.support.hub import RunningHub, running_hub
from tests.support.waiting import eventually
from tests.support.wire import FILES, Answer, stages, wire
from tests.uploads.conftest import noise
from tests.uploads.speakers import CHUNK, TUS, encoded, path_of

MIB = 1024**2
KIB = 1024
UPLOADS = "/api/v1/uploads"
PARTIAL = TUS | CHUNK | {"Upload-Concat": "partial"}


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    settings = {"DSX_QUOTA": "1MiB", "DSX_MAX_TASKS": "3", "DSX_MAX_EVENT_STREAMS": "2"}
    with running_hub(tmp_path_factory.mktemp("quota"), **settings) as hub:
        yield hub


@pytest.fixture
def member(limited: RunningHub) -> RunningHub:
    """A new member with a quota of 1 MiB."""
    return limited.user(f"m{time.monotonic_ns()}")


def is_over(answer: requests.Response | Answer) -> bool:
    status = answer.status_code if isinstance(answer, requests.Response) else answer.status
    body = answer.content if isinstance(answer, requests.Response) else answer.body
    problem = json.loads(body)
    return (status, problem["code"], problem["details"].get("quota")) == (413, "too_large", MIB)


def staged_bytes(hub: RunningHub) -> int:
    return sum(path.stat().st_blocks * 512 for path in stages(hub.data_dir))


def begun(hub: RunningHub, **facts: Any) -> requests.Response:
    return hub.post(UPLOADS, json=facts)


def test_h6_promised_bytes_count(member: RunningHub) -> None:
    """60 uploads of 1 MiB: the first is begun, and there is room again once it is gone."""
    answers = [begun(member, name=f"{n}.bin", length=MIB) for n in range(60)]
    assert answers[0].status_code == 201
    assert all(is_over(answer) for answer in answers[1:])
    assert is_over(member.post(f"{FILES}?name=beside.bin", data=b"x"))
    assert member.delete(f"{UPLOADS}/{answers[0].json()['id']}").status_code == 204
    assert begun(member, name="again.bin", length=MIB).status_code == 201


def test_h6_staged_bytes_of_unknown_length_count(member: RunningHub) -> None:
    """Deferred length: what has come counts, and what is beyond is refused while it comes."""
    fields = TUS | {"Upload-Defer-Length": "1"}
    paths = [path_of(member.post("/uploads", headers=fields)) for _ in range(5)]
    send = TUS | CHUNK | {"Upload-Offset": "0"}
    answers = [member.request("PATCH", path, headers=send, data=noise(MIB // 2)) for path in paths]
    assert [answer.status_code for answer in answers[:2]] == [204, 204]
    assert all(is_over(answer) for answer in answers[2:])
    at_end = TUS | CHUNK | {"Upload-Offset": str(MIB // 2)}
    assert is_over(member.request("PATCH", paths[0], headers=at_end, data=b"x"))
    for path in paths:
        assert member.delete(path, headers=TUS).status_code == 204


def test_h6_chunked_bodies_end_at_the_quota(member: RunningHub) -> None:
    """A body without a length is refused at the quota's end, not at the disk's."""
    fields = TUS | {"Upload-Defer-Length": "1"}
    path = path_of(member.post("/uploads", headers=fields))
    said = [f"{k}: {v}" for k, v in (TUS | CHUNK | {"Upload-Offset": "0"}).items()]
    targets = [("PATCH", path, said), ("POST", f"{FILES}?name=endless.bin", [])]
    for method, target, lines in targets:
        with wire(member) as connection:
            connection.send(connection.head(method, target, "Transfer-Encoding: chunked", *lines))
            for _ in range(16):
                connection.send(b"20000\r\n" + noise(0x20000) + b"\r\n")
            assert is_over(connection.answer())
    assert staged_bytes(member) < 4 * MIB
    assert member.delete(path, headers=TUS).status_code == 204


def test_h3_quota_before_the_body(member: RunningHub) -> None:
    """A body that is announced to be too long is refused before a byte of it has come."""
    form = "Content-Type: multipart/form-data; boundary=x"
    task = member.post("/create_task").json()["task_id"]
    for method, path, *lines in [
        ("POST", f"{FILES}?name=a.bin"),
        ("POST", FILES, form),
        ("POST", "/upload", form),
        ("POST", "/upload_chunk", form),
        ("POST", "/upload=a.bin"),
        ("PUT", f"/upload_file/{task}?filename=a.bin"),
        ("PUT", "/storage/tmp-upload/", form),
        ("POST", "/uploads?name=a.bin", "Upload-Draft-Interop-Version: 8", "Upload-Complete: ?1"),
        ("POST", "/uploads?name=a.bin", "Upload-Draft-Interop-Version: 8", "Upload-Complete: ?0"),
        ("POST", "/uploads", "Tus-Resumable: 1.0.0", f"Upload-Length: {9 * MIB}",
         f"Content-Type: {CHUNK['Content-Type']}"),
        ("POST", "/uploads", "Tus-Resumable: 1.0.0", "Upload-Defer-Length: 1",
         f"Content-Type: {CHUNK['Content-Type']}"),
    ]:  # fmt: skip
        with wire(member) as connection:
            head = connection.head(method, path, f"Content-Length: {9 * MIB}", *lines)
            connection.send(head + b"ab")
            while (answer := connection.answer()).status < 200:
                pass  # an interim one: where to go on
            assert is_over(answer), path


def test_h6_many_at_once_get_no_further_than_one(member: RunningHub) -> None:
    """Single requests count while they come, too."""
    before = set(stages(member.data_dir))
    with wire(member) as first, wire(member) as second:
        for number, connection in enumerate((first, second)):
            path = f"{FILES}?name={number}.bin"
            connection.send(connection.head("POST", path, f"Content-Length: {600 * KIB}"))
            connection.send(noise(1000))
            assert eventually(lambda: set(stages(member.data_dir)) - before)
        assert is_over(second.answer())
        assert is_over(begun(member, name="x", length=500 * KIB))
        first.send(noise(600 * KIB)[1000:])
        assert first.answer().status == 201
    assert member.post(f"{FILES}?name=rest.bin", data=noise(400 * KIB)).status_code == 201


def test_h6_chunks_count(member: RunningHub) -> None:
    def send(index: int) -> requests.Response:
        texts = {"filename": "c.bin", "chunkIndex": str(index), "totalChunks": "4"}
        return member.post("/upload_chunk", data=texts, files={"file": noise(400 * KIB, index)})

    assert [send(n).status_code for n in range(2)] == [200, 200]
    assert is_over(send(2))


def test_h6_a_file_made_of_parts_counts_once(member: RunningHub) -> None:
    """Its partials count until it is made, then it does: no room is needed for both."""

    def part(size: int) -> str:
        fields = PARTIAL | {"Upload-Length": str(size)}
        answer = member.post("/uploads", headers=fields, data=noise(size))
        assert answer.status_code == 201, answer.text
        return path_of(answer)

    parts = [part(300 * KIB), part(300 * KIB)]
    assert is_over(begun(member, name="beside.bin", length=500 * KIB))
    said = {"Upload-Metadata": encoded(filename="joined.bin")}
    final = TUS | said | {"Upload-Concat": f"final;{' '.join(parts)}"}
    made = member.post("/uploads", headers=final)
    assert made.status_code == 201, made.text
    assert begun(member, name="beside.bin", length=400 * KIB).status_code == 201
    assert is_over(begun(member, name="more.bin", length=100 * KIB))


def test_h6_tasks_are_bounded(member: RunningHub) -> None:
    made = [member.post("/api/v1/tasks", json={}) for _ in range(4)]
    assert [answer.status_code for answer in made] == [201, 201, 201, 409]
    assert (made[3].json()["code"], made[3].json()["details"]["limit"]) == ("too_many", 3)
    assert member.post("/create_task").status_code == 409
    assert member.post(f"/api/v1/tasks/{made[0].json()['id']}/abort").status_code == 200
    assert member.post("/create_task").status_code == 201


def test_h6_event_streams_are_bounded(member: RunningHub, limited: RunningHub) -> None:
    path = "/api/v1/tasks/events"
    with wire(member) as first, wire(member) as second, wire(member) as third:
        for connection in (first, second):
            connection.send(connection.head("GET", path))
            assert connection.socket.recv(12) == b"HTTP/1.1 200"
        answer = third.ask("GET", path)
        assert (answer.status, json.loads(answer.body)["code"]) == (409, "too_many")
        assert limited.get(f"{path}?seconds=0.1").status_code == 200  # others have their own
    eventually(lambda: member.get(f"{path}?seconds=0.1").status_code == 200)


def test_h6_uploads_are_bounded(tmp_path: Path) -> None:
    with running_hub(tmp_path, DSX_MAX_UPLOADS="2") as hub:
        made = [begun(hub, name=f"{n}", length=1) for n in range(3)]
        assert [answer.status_code for answer in made] == [201, 201, 409]
        assert made[2].json()["code"] == "too_many"
        fields = TUS | {"Upload-Length": "1"}
        assert hub.post("/uploads", headers=fields).status_code == 409
        path = f"{UPLOADS}/{made[0].json()['id']}"
        assert hub.request("PUT", f"{path}/parts/0", data=b"x").status_code == 200
        assert hub.post(f"{path}/finish").status_code == 201
        assert begun(hub, name="next", length=1).status_code == 201


def test_what_fills_a_quota_can_be_seen_and_ended(member: RunningHub) -> None:
    """A partial upload that is ready counts until a final is made of it."""
    before = member.get("/api/v1/account/usage").json()
    assert before["quota_bytes"] == MIB
    headers = PARTIAL | {"Upload-Length": "1000"}
    made = member.post("/uploads", data=noise(1000), headers=headers)
    assert made.status_code == 201, made.text
    id_ = made.headers["Location"].rpartition("/")[2]
    used = member.get("/api/v1/account/usage").json()
    assert used["staged"] - before["staged"] == 1000
    assert id_ in {one["id"] for one in member.get("/api/v1/uploads").json()["items"]}
    ended = member.post(f"/api/v1/tasks/{id_}/abort")
    assert ended.status_code == 200, ended.text
    assert member.get("/api/v1/account/usage").json() == before
    assert id_ not in {one["id"] for one in member.get("/api/v1/uploads").json()["items"]}
