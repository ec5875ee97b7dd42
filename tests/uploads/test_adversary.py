"""What an attacker, or a careless client, may try with uploads: refused, and nobody is harmed."""

from __future__ import annotations

import base64
import hashlib
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.support.digests import sha256
from tests.support.hub import RunningHub, running_hub
from tests.support.waiting import in_time
from tests.support.wire import Answer, stages, wire
from tests.uploads.conftest import Begin, noise
from tests.uploads.speakers import CHUNK, TUS, encoded, path_of

MIB = 1024**2
PARTIAL = TUS | {"Upload-Concat": "partial"}


def partial(hub: RunningHub, length: int | None, data: bytes = b"") -> str:
    """The path of a new partial upload that has *data*."""
    size = {"Upload-Defer-Length": "1"} if length is None else {"Upload-Length": str(length)}
    answer = hub.post("/uploads", headers=PARTIAL | size | (CHUNK if data else {}), data=data)
    assert answer.status_code == 201
    return path_of(answer)


def append(hub: RunningHub, path: str, offset: int, data: Any, **fields: str) -> int:
    named = {name.replace("_", "-"): value for name, value in fields.items()}
    headers = TUS | CHUNK | {"Upload-Offset": str(offset)} | named
    return hub.request("PATCH", path, data=data, headers=headers).status_code


def final(hub: RunningHub, *parts: str, **metadata: str) -> Any:
    fields = {"Upload-Concat": f"final;{' '.join(parts)}", "Upload-Metadata": encoded(**metadata)}
    return hub.post("/uploads", headers=TUS | fields)


def staged(hub: RunningHub) -> set[str]:
    return {entry.name for entry in stages(hub.data_dir)}


def begun(hub: RunningHub, **facts: Any) -> dict[str, Any]:
    answer = hub.post("/api/v1/uploads", json=facts)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


@pytest.fixture(autouse=True)
def nothing_unforeseen(hub: RunningHub) -> Iterator[None]:
    """None of this is news to the hub: its log tells of no failure."""
    before = len(hub.log.read_text())
    yield
    said = hub.log.read_text()[before:]
    assert "Traceback" not in said
    assert "unforeseen" not in said


MALFORMED = [
    ("POST", "Upload-Metadata: filename \xe9"),
    ("POST", "Upload-Metadata: a \xff\xfe,b YQ=="),
    ("POST", "Upload-Metadata: sha256 YQ=="),
    ("POST", "Upload-Concat: final;http://[::1/uploads/x"),
    ("POST", "Upload-Concat: final;//[/uploads/x"),
    ("POST", "Upload-Concat: final;http://[v1.x]/uploads/x"),
    ("POST", "Upload-Concat: final;/uploads/\xe9"),
    ("POST", "Upload-Defer-Length: 2"),
    ("PATCH", "Upload-Checksum: sha1 \xe9"),
    ("PATCH", "Upload-Checksum: sha1"),
    ("PATCH", "Upload-Checksum: sha1 ===="),
    ("PATCH", "Upload-Checksum: md5 AAAA"),
    ("PATCH", "Upload-Length: 9223372036854775808"),
    ("PATCH", "Upload-Length: 18446744073709551616"),
    ("PATCH", "Upload-Length: 1_0"),
    ("PATCH", "Upload-Length: +5"),
]


@pytest.mark.parametrize(("method", "line"), MALFORMED)
def test_malformed_fields_are_told_apart_from_failures(
    hub: RunningHub, tus: Begin, method: str, line: str
) -> None:
    fields = [f"{name}: {value}" for name, value in (TUS | CHUNK).items()]
    if method == "POST":
        path = "/uploads"
        fields += [] if "Concat" in line else ["Upload-Length: 5"]
    else:
        path = tus(5).path
        fields.append("Upload-Offset: 0")
    with wire(hub) as connection:
        head = connection.head(method, path, *fields, line, "Content-Length: 1")
        connection.send(head.decode().encode("latin-1") + b"x")
        answer: Answer = connection.answer()
    assert answer.status == 400, answer.body


def test_a_field_of_a_hundred_kilobytes(hub: RunningHub) -> None:
    with wire(hub) as connection:
        value = "A" * 100_000
        connection.send(connection.head("POST", "/uploads", f"Upload-Metadata: a {value}"))
        assert connection.answer().status in {400, 431}


def test_an_overridden_method_does_not_change_what_the_connection_expects(
    hub: RunningHub, tus: Begin
) -> None:
    """The answer to HEAD has no body, or the next answer on the connection is read from it."""
    speaker = tus(3)
    assert speaker.append(0, b"abc").ok
    fields = "Tus-Resumable: 1.0.0", "X-HTTP-Method-Override: GET", "Connection: close"
    with wire(hub) as connection:
        answer = connection.ask("HEAD", speaker.path, *fields)
        assert (answer.status, answer.headers["content-length"]) == (200, "3")
        assert connection.ended()


def test_finishing_while_a_part_arrives(hub: RunningHub) -> None:
    """Its length was not told, so it ends where its bytes do; what comes later changes nothing."""
    data = noise(8 * MIB)
    path = begun(hub, name="end-now")["url"]
    with wire(hub) as connection:
        size = f"Content-Length: {len(data)}"
        connection.send(connection.head("PUT", f"{path}/parts/0", size) + data[: 3 * MIB])
        assert in_time(lambda: hub.get(path).json()["offset"] == 3 * MIB)
        file = hub.post(f"{path}/finish").json()
        connection.send(data[3 * MIB :])
        assert connection.answer().status in {409, 410}
    assert (file["size"], file["sha256"]) == (3 * MIB, sha256(data[: 3 * MIB]))
    time.sleep(0.5)
    blob = hub.data_dir / "blobs" / file["sha256"][:2] / file["sha256"]
    assert blob.stat().st_size == 3 * MIB
    assert sha256(hub.get(file["url"]).content) == file["sha256"]


def test_finishing_a_final_whose_partials_are_not_ready(hub: RunningHub) -> None:
    one = partial(hub, None)
    path = path_of(final(hub, one, filename="joined-later"))
    native = f"/api/v1{path}"
    answer = hub.post(f"{native}/finish")
    assert (answer.status_code, answer.json()["code"]) == (409, "incomplete")
    assert append(hub, one, 0, b"hello", Upload_Length="5") == 204
    assert hub.post(f"{native}/finish").json()["size"] == 5


def test_finishing_a_partial_makes_no_file(hub: RunningHub) -> None:
    one = partial(hub, 5, b"hello")
    answer = hub.post(f"/api/v1{one}/finish")
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert final(hub, one, filename="from-it").status_code == 201


def test_a_partial_is_not_harmed_by_a_final_that_cannot_be_made(hub: RunningHub) -> None:
    lost, kept = partial(hub, 5), partial(hub, 5)
    waiting = path_of(final(hub, lost, kept))
    assert hub.delete(lost, headers=TUS).status_code == 204
    assert append(hub, kept, 0, b"hello") == 204
    assert hub.request("HEAD", waiting, headers=TUS).status_code in {404, 410}
    assert path_of(final(hub, kept, filename="another"))


def test_a_final_that_is_refused_leaves_nothing(hub: RunningHub) -> None:
    one = partial(hub, 5, b"hello")
    before = {upload["id"] for upload in hub.get("/api/v1/uploads").json()["items"]}
    answer = final(hub, one, filename="other", sha256=sha256(b"other"))
    assert answer.status_code == 422
    after = {upload["id"] for upload in hub.get("/api/v1/uploads").json()["items"]}
    assert after == before
    assert staged(hub) & after <= before


def test_bytes_beyond_a_finished_upload_are_refused(hub: RunningHub, tus: Begin) -> None:
    speaker = tus(3)
    assert speaker.append(0, b"abc").ok
    assert append(hub, speaker.path, 3, iter([b"more"])) == 413
    assert append(hub, speaker.path, 3, iter([])) == 204


def test_a_task_is_taken_up_once(hub: RunningHub) -> None:
    task = hub.post("/api/v1/tasks", json={}).json()["id"]
    facts = {"name": "taken-up", "length": 1, "task": task}
    answers = [hub.post("/api/v1/uploads", json=facts).status_code for _ in range(3)]
    assert answers == [201, 409, 409]
    for unknown in ("x" * 100, "\0", ""):
        answer = hub.post("/api/v1/uploads", json=facts | {"task": unknown})
        assert answer.status_code in {400, 404, 422}


@pytest.mark.parametrize("length", [50, 101, 300_000, 2**30])
def test_a_proof_of_another_length_tells_nothing(hub: RunningHub, length: int) -> None:
    """Neither that the hub has such bytes, nor how many they are."""
    stored = hub.store("secret", noise(100, seed=77))
    answers = []
    for digest in (stored["sha256"], sha256(b"unknown")):
        upload = begun(hub, name="guess", length=length, sha256=digest)
        answer = hub.post(f"{upload['url']}/proof", json={"proof": "0" * 64})
        answers.append((answer.status_code, answer.json()))
        hub.delete(upload["url"])
    assert answers[0] == answers[1]
    assert answers[0][0] == 403


def test_the_time_of_a_refused_proof_tells_nothing(hub: RunningHub) -> None:
    data = noise(MIB, seed=78)
    hub.store("secret-too", data)
    times: dict[str, list[float]] = {sha256(data): [], sha256(b"unknown"): []}
    for _ in range(5):
        for digest, spent in times.items():
            upload = begun(hub, name="guess", length=MIB, sha256=digest)
            began = time.monotonic()
            hub.post(f"{upload['url']}/proof", json={"proof": "0" * 64})
            spent.append(time.monotonic() - began)
            hub.delete(upload["url"])
    known, unknown = (statistics.median(spent) for spent in times.values())
    assert min(known, unknown) > 0.2
    assert abs(known - unknown) < 0.1


def proof_of(upload: dict[str, Any], data: bytes) -> str:
    quoted = b"".join(data[start:stop] for start, stop in upload["challenge"]["places"])
    return sha256(bytes.fromhex(upload["challenge"]["nonce"]) + quoted)


def test_a_challenge_is_answered_once(hub: RunningHub) -> None:
    data = noise(300_000, seed=79)
    hub.store("proven", data)
    upload = begun(hub, name="proven-2", length=len(data), sha256=sha256(data))
    url, right = f"{upload['url']}/proof", proof_of(upload, data)
    assert hub.post(url, json={"proof": "0" * 64}).status_code == 403
    assert hub.post(url, json={"proof": right}).status_code == 403
    other = begun(hub, name="proven-3", length=len(data), sha256=sha256(data))
    assert hub.post(f"{other['url']}/proof", json={"proof": right}).status_code == 403
    third = begun(hub, name="proven-4", length=len(data), sha256=sha256(data))
    right = proof_of(third, data)
    with ThreadPoolExecutor(8) as pool:
        found = pool.map(
            lambda _: hub.post(f"{third['url']}/proof", json={"proof": right}).status_code,
            range(8),
        )
    assert min(found) == 201
    assert hub.get("/api/v1/files", params={"name": "proven-4"}).json()["items"][0]["version"] == 1


def test_a_partial_is_never_proven(hub: RunningHub) -> None:
    data = noise(100, seed=80)
    hub.store("whole", data)
    said = {"Upload-Length": "100", "Upload-Metadata": encoded(sha256=sha256(data))}
    path = path_of(hub.post("/uploads", headers=PARTIAL | said))
    upload = hub.get(f"/api/v1{path}").json()
    assert upload["challenge"] is None
    answer = hub.post(f"/api/v1{path}/proof", json={"proof": "0" * 64})
    assert answer.status_code == 403


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    """A hub that takes files of a million bytes at most."""
    directory = tmp_path_factory.mktemp("narrow")
    with running_hub(directory, DSX_MAX_FILE_SIZE="1000000") as hub:
        yield hub


def test_a_length_told_late_obeys_the_limit(narrow: RunningHub) -> None:
    path = begun(narrow, name="late")["url"]
    assert narrow.post(f"{path}/finish", json={"length": 2_000_000}).status_code == 413
    pieces = (bytes(250_000) for _ in range(8))
    answer = narrow.request("PUT", f"{path}/parts/0", data=pieces)
    assert answer.status_code == 413


def test_base64_of_bytes_that_are_no_text_is_kept_as_told(hub: RunningHub) -> None:
    raw = base64.b64encode(b"\xff\xfe").decode()
    fields = TUS | {"Upload-Length": "0", "Upload-Metadata": f"filename YWJj,raw {raw}"}
    path = path_of(hub.post("/uploads", headers=fields))
    assert hub.get(f"/api/v1{path}").json()["file"]["metadata"]["raw"] == raw


def test_a_pending_task_can_be_paused_and_resumed_before_it_is_taken_up(hub: RunningHub) -> None:
    task = hub.post("/api/v1/tasks", json={}).json()["id"]
    assert hub.post(f"/api/v1/tasks/{task}/pause").json()["state"] == "paused"
    assert hub.post(f"/api/v1/tasks/{task}/resume").json()["state"] == "pending"
    assert begun(hub, name="resumed", length=1, task=task)["id"] == task


def test_a_refused_creation_leaves_nothing(hub: RunningHub) -> None:
    """Of a client that was not told where its upload is, for it does not understand 104."""
    before = hub.get("/api/v1/uploads").json()["items"]
    fields = {"Upload-Complete": "?1", "Upload-Length": "4"}
    answer = hub.post("/uploads", data=iter([b"too long"]), headers=fields)
    assert answer.status_code == 413
    digest = base64.b64encode(hashlib.sha256(b"other").digest()).decode()
    fields = {"Upload-Complete": "?1", "Repr-Digest": f"sha-256=:{digest}:"}
    assert hub.post("/uploads", data=b"data", headers=fields).status_code == 422
    assert hub.get("/api/v1/uploads").json()["items"] == before
