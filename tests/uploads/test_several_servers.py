"""C3: several servers on one catalog, each with a staging directory of its own, lose no byte."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests
from tests.support.balancer import balancing
from tests.support.catalogs import postgres
from tests.support.digests import sha256
from tests.support.hub import RunningHub, running_hub
from tests.support.waiting import eventually
from tests.support.wire import FILES, staged, wire
from tests.uploads.conftest import noise
from tests.uploads.speakers import CHUNK, TUS, Rufh, Speaker, Tus, encoded, id_of, path_of

from dsx import DatasetHubClient
from dsx.client.errors import Elsewhere

__all__ = ["postgres"]

MIB = 1024**2
UPLOADS = "/api/v1/uploads"
Pair = tuple[RunningHub, RunningHub]


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pair]:
    """Two hubs with one catalog and two data directories, as on two machines."""
    root = tmp_path_factory.mktemp("pair")
    if request.param == "sqlite":
        url = f"sqlite:///{root / 'shared.db'}"
    else:
        url = request.getfixturevalue("postgres").create_database()
    settings = {"DSX_DATABASE_URL": url, "DSX_COLLECT_INTERVAL": "0.5", "DSX_SECRET_KEY": "x" * 43}
    settings |= {"DSX_UPLOAD_EXPIRY": "60"}
    with ExitStack() as stack:
        hubs = [stack.enter_context(running_hub(root / one, **settings)) for one in "ab"]
        yield hubs[0], hubs[1]


def begun(hub: RunningHub, **facts: Any) -> str:
    answer = hub.post(UPLOADS, json=facts)
    assert answer.status_code == 201, answer.text
    return f"{UPLOADS}/{answer.json()['id']}"


def moved(hub: RunningHub, speaker: Speaker) -> Speaker:
    """The same upload as *hub* is asked for it."""
    return type(speaker)(hub, speaker.name, speaker.length, speaker.path)


def is_elsewhere(answer: requests.Response, hub: RunningHub) -> bool:
    """Whether it says that *hub* has the bytes, and to try again."""
    if (answer.status_code, answer.headers.get("Retry-After")) != (503, "1"):
        return False
    problem = answer.json()
    identity = (hub.data_dir / "staging" / ".id").read_text().strip()
    return (problem["code"], problem["details"]["staging_id"]) == ("elsewhere", identity)


def test_c3_two_parts_at_once_to_two_servers(pair: Pair) -> None:
    """Both are begun before either is recorded: only one is taken, and nothing has zeros in it."""
    data = noise(8 * MIB)
    half = len(data) // 2
    for turn in range(3):
        path = begun(pair[0], name=f"both-{turn}.bin", length=len(data))
        pieces = [data[:half], data[half:]]
        with wire(pair[0]) as first, wire(pair[1]) as second:
            wires = first, second
            for number, connection in enumerate(wires):
                where = f"{path}/parts/{number * half}"
                head = connection.head("PUT", where, f"Content-Length: {half}")
                connection.send(head + pieces[number][:MIB])
            for piece, connection in zip(pieces, wires, strict=True):
                connection.send(piece[MIB:])
            answers = [connection.answer() for connection in wires]
        codes = [answer.status for answer in answers]
        assert sorted(codes) == [200, 503], answers
        here = codes.index(200)
        assert json.loads(answers[1 - here].body)["code"] == "elsewhere"
        assert pair[here].post(f"{path}/finish").json()["code"] == "incomplete"
        rest = data[(1 - here) * half : (2 - here) * half]
        again = pair[here].request("PUT", f"{path}/parts/{(1 - here) * half}", data=rest)
        assert again.status_code == 200
        assert is_elsewhere(pair[1 - here].post(f"{path}/finish"), pair[here])
        made = pair[here].post(f"{path}/finish").json()
        assert made["sha256"] == sha256(data)
        assert pair[here].get(f"{FILES}/{made['id']}/content").content == data


@pytest.mark.parametrize("kind", [Tus, Rufh])
def test_c3_appending_elsewhere(pair: Pair, kind: type[Speaker]) -> None:
    """The offset is true wherever it is asked for; bytes are taken where the others are."""
    data = noise(200_000)
    a, b = pair
    here = kind(a, f"{kind.__name__}-here.bin", len(data))
    assert here.create().status_code == 201
    assert here.append(0, data[:100_000]).ok
    there = moved(b, here)
    assert there.offset() == 100_000
    assert is_elsewhere(there.append(100_000, data[100_000:]), a)
    assert here.offset() == 100_000
    assert here.append(100_000, data[100_000:]).ok
    record = here.finish()
    assert record["sha256"] == sha256(data)
    assert id_of(here.path) not in {path.name for path in staged(b)}


def test_c3_an_upload_begins_wherever_its_first_bytes_come(pair: Pair) -> None:
    """So a balancer may choose by the upload's id, which is in every path but the first."""
    a, b = pair
    upload = Tus(a, "first-byte.bin", 3)
    assert upload.create().status_code == 201
    upload = moved(b, upload)
    assert upload.append(0, b"abc").status_code == 204
    assert upload.finish()["sha256"] == sha256(b"abc")


def test_c3_concatenation(pair: Pair) -> None:
    a, b = pair
    fields = TUS | CHUNK | {"Upload-Concat": "partial", "Upload-Length": "3"}

    def part(hub: RunningHub, data: bytes) -> str:
        answer = hub.post("/uploads", headers=fields, data=data)
        assert answer.status_code == 201, answer.text
        return path_of(answer)

    def joined(hub: RunningHub, *parts: str) -> requests.Response:
        said = {"Upload-Metadata": encoded(filename="joined.bin")}
        return hub.post(
            "/uploads", headers=TUS | said | {"Upload-Concat": f"final;{' '.join(parts)}"}
        )

    here = [part(a, b"abc"), part(a, b"def")]
    assert is_elsewhere(joined(b, *here), a)
    made = joined(a, *here)
    assert made.status_code == 201, made.text
    content = a.get(path_of(made))
    assert content.content == b"abcdef"
    apart = joined(a, here[0], part(b, b"ghi"))
    assert (apart.status_code, apart.json()["code"]) == (409, "conflict")
    assert "shared staging directory" in apart.json()["detail"]


def test_c3_chunks_of_a_file(pair: Pair) -> None:
    a, b = pair

    def send(hub: RunningHub, index: int, data: bytes) -> requests.Response:
        texts = {"filename": "chunks.bin", "chunkIndex": str(index), "totalChunks": "2"}
        return hub.post("/upload_chunk", data=texts, files={"file": ("chunks.bin", data)})

    assert send(a, 0, b"abc").status_code == 200
    assert is_elsewhere(send(b, 1, b"def"), a)
    done = send(a, 1, b"def")
    assert done.status_code == 201, done.text
    assert done.json()["metadata"]["sha256"] == sha256(b"abcdef")


def test_c3_tasks(pair: Pair) -> None:
    a, b = pair
    task = a.post("/create_task").json()["task_id"]
    path = f"/upload_file/{task}?filename=task.bin"
    first = a.request("PUT", path, data=b"abc", headers={"Content-Range": "bytes 0-2/6"})
    assert first.status_code == 202, first.text
    second = {"data": b"def", "headers": {"Content-Range": "bytes 3-5/6"}}
    assert is_elsewhere(b.request("PUT", path, **second), a)
    assert b.post(f"/api/v1/tasks/{task}/pause").json()["state"] == "paused"
    assert a.request("PUT", path, **second).status_code == 409
    assert b.post(f"/api/v1/tasks/{task}/resume").json()["state"] == "running"
    done = a.request("PUT", path, **second)
    assert (done.status_code, done.json()["sha256"]) == (201, sha256(b"abcdef"))


def test_c3_the_storage_dialect(pair: Pair) -> None:
    a, b = pair
    form = {"files": {"file": ("s.bin", b"abc")}, "headers": {"Content-Range": "bytes 0-2/6"}}
    upload = a.request("PUT", "/storage/tmp-upload/", **form).json()["id"]
    path = f"/storage/tmp-upload/{upload}/"
    form = {"files": {"file": ("s.bin", b"def")}, "headers": {"Content-Range": "bytes 3-5/6"}}
    assert is_elsewhere(b.request("PUT", path, **form), a)
    assert a.request("PUT", path, **form).status_code == 200
    assert is_elsewhere(b.post(path), a)
    assert a.post(path).json()["sha256"] == sha256(b"abcdef")


def test_c3_a_proof_needs_no_stage(pair: Pair) -> None:
    """Who has staged bytes here may prove there that they are known: nothing is made anew."""
    a, b = pair
    data = noise(5000, seed=9)
    b.store("known.bin", data)
    path = begun(a, name="proven.bin", length=len(data), sha256=sha256(data))
    assert a.request("PUT", f"{path}/parts/0", data=data[:1000]).status_code == 200
    nonce = a.get(path).json()["challenge"]["nonce"]
    proof = hashlib.sha256(bytes.fromhex(nonce) + data).hexdigest()
    made = b.post(f"{path}/proof", json={"proof": proof})
    assert made.status_code == 201, made.text
    id_ = id_of(path)
    assert id_ not in {one.name for one in staged(b)}
    eventually(lambda: id_ not in {one.name for one in staged(a)})


def test_c3_sweeping_and_ending(pair: Pair) -> None:
    """Each server sweeps its own stages; an upload may be ended anywhere."""
    a, b = pair
    path = begun(a, name="kept.bin", length=6)
    id_ = id_of(path)
    assert a.request("PUT", f"{path}/parts/0", data=b"abc").status_code == 200
    other = begun(b, name="marker.bin", length=1)
    assert b.request("PUT", f"{other}/parts/0", data=b"x").status_code == 200
    (b.data_dir / "staging" / "left-by-a-crash").write_bytes(b"x")
    eventually(lambda: not (b.data_dir / "staging" / "left-by-a-crash").exists())  # it has swept
    assert (a.data_dir / "staging" / id_).read_bytes() == b"abc"
    assert b.get(path).json()["state"] == "open"
    assert b.delete(path).status_code == 204
    assert a.get(path).status_code == 410
    eventually(lambda: not (a.data_dir / "staging" / id_).exists())
    assert b.delete(other).status_code == 204


def test_c3_the_client_through_a_balancer(pair: Pair, tmp_path: Path) -> None:
    """Parts that come to the wrong server are sent again until they come to the right one."""
    source = tmp_path / "large.bin"
    source.write_bytes(noise(MIB) * 40 + os.urandom(5))
    with balancing([hub.url for hub in pair]) as balancer:
        with DatasetHubClient(balancer.url, pair[0].key) as client:
            info = client.upload(source)
        assert ("PUT", 503) in balancer.passed
    assert info.sha256 == sha256(source.read_bytes())
    answers = [hub.get(f"{FILES}/{info.id}/content") for hub in pair]
    right = [answer for answer in answers if answer.status_code == 200]
    assert right[0].content == source.read_bytes()


def test_c3_the_client_gives_up_in_time(
    pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that is never reached again is told as what it is."""
    monkeypatch.setattr("dsx.client.http._ELSEWHERE", 2)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    a, b = pair
    source = tmp_path / "lost.bin"
    source.write_bytes(noise(33 * MIB, seed=3))
    with DatasetHubClient(b.url, b.key, retries=1) as client:
        told: list[str] = []

        def elsewhere(state: str, _name: str, id_: str) -> None:
            if state == "running" and not told:
                told.append(id_)
                part = a.request("PUT", f"{UPLOADS}/{id_}/parts/0", data=b"x")
                assert part.status_code == 200, part.text

        with pytest.raises(Elsewhere, match="staging directory"):
            client.upload(source, on_state=elsewhere)
    assert a.delete(f"{UPLOADS}/{told[0]}").status_code == 204


def test_c3_a_shared_staging_directory_is_one(tmp_path: Path) -> None:
    """Two servers on one data directory go on with each other's uploads."""
    database = f"sqlite:///{tmp_path / 'shared.db'}"
    with ExitStack() as stack:
        hubs = [
            stack.enter_context(
                running_hub(
                    tmp_path / one,
                    DSX_DATABASE_URL=database,
                    DSX_DATA_DIR=str(tmp_path / "both"),
                )
            )
            for one in "cd"
        ]
        path = begun(hubs[0], name="shared.bin", length=6)
        for offset, hub, data in ((0, hubs[0], b"abc"), (3, hubs[1], b"def")):
            assert hub.request("PUT", f"{path}/parts/{offset}", data=data).status_code == 200
        made = hubs[1].post(f"{path}/finish")
        assert made.json()["sha256"] == sha256(b"abcdef")
