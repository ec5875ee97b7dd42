"""Files in numbered chunks where things go wrong, or happen at the same time, in two processes."""

from __future__ import annotations

import hashlib
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from requests import Response
from tests.support.catalogs import postgres
from tests.support.hub import RunningHub, running_hub
from tests.support.postgres import Cluster
from tests.support.waiting import eventually
from tests.uploads.conftest import noise

__all__ = ["postgres"]

MIB = 1024**2


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def hub(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningHub]:
    settings = {"DSX_WORKERS": "2"}
    if request.param == "postgres":
        running: Cluster = request.getfixturevalue("postgres")
        settings["DSX_DATABASE_URL"] = running.create_database()
    with running_hub(tmp_path_factory.mktemp("chunks"), **settings) as started:
        yield started
        assert "unforeseen" not in started.log.read_text()


@pytest.fixture
def name() -> str:
    return f"{uuid.uuid4().hex}.bin"


def send(
    hub: RunningHub, name: str, index: int, pieces: list[bytes], checksum: str = ""
) -> Response:
    fields = {"filename": name, "chunkIndex": index, "totalChunks": len(pieces)}
    if checksum:
        fields["checksum"] = checksum
    return hub.post("/upload_chunk", data=fields, files={"file": ("p", pieces[index])})


def open_uploads(hub: RunningHub) -> list[dict[str, object]]:
    items: list[dict[str, object]] = hub.get("/api/v1/uploads?limit=1000").json()["items"]
    return items


def versions(hub: RunningHub, name: str) -> int:
    found = hub.get("/files", params={"filename": name})
    if found.status_code == 404:
        return 0
    items = hub.get("/api/v1/files", params={"name": name}).json()["items"]
    return int(items[0]["version"])


def test_the_last_chunks_at_once_make_one_file(hub: RunningHub, name: str) -> None:
    pieces = [noise(50_000 + i) for i in range(6)]
    for i in range(3):
        assert send(hub, name, i, pieces).status_code == 200
    with ThreadPoolExecutor(9) as pool:
        answers = list(pool.map(lambda i: send(hub, name, i, pieces), [3, 4, 5] * 3))
    assert {answer.status_code for answer in answers} <= {200, 201}, [
        a.text for a in answers if a.status_code > 201
    ]
    assert 201 in {answer.status_code for answer in answers}
    assert versions(hub, name) == 1
    assert hub.get("/files", params={"filename": name}).content == b"".join(pieces)


def test_same_name_and_other_checksums_do_not_mix(hub: RunningHub, name: str) -> None:
    first, second = [noise(1000), noise(2000)], [noise(1001), noise(2001)]
    digests = [hashlib.sha1(b"".join(pieces)).hexdigest() for pieces in (first, second)]
    for i in (1, 0):
        for pieces, digest in zip((first, second), digests, strict=True):
            assert send(hub, name, i, pieces, digest).status_code == 201 - i
    assert versions(hub, name) == 2
    assert hub.get("/files", params={"filename": name}).content == b"".join(second)


def test_an_older_version_is_made_again(hub: RunningHub, name: str) -> None:
    """Its chunks are known, but the file is another one by now."""
    pieces = [b"one", b"two"]
    digest = hashlib.md5(b"onetwo").hexdigest()
    made = [send(hub, name, i, pieces, digest) for i in range(2)][-1].json()["metadata"]
    hub.store(name, b"other")
    again = [send(hub, name, i, pieces, digest) for i in range(2)]
    assert [answer.status_code for answer in again] == [200, 201]
    assert again[-1].json()["metadata"]["version"] == 3
    assert again[-1].json()["metadata"]["sha256"] == made["sha256"]


def test_a_chunk_that_was_dropped_is_missed_and_can_be_sent_again(
    hub: RunningHub, name: str
) -> None:
    pieces = [b"0" * 1000, b"1" * 1000]
    before = {task["id"] for task in hub.get("/api/v1/tasks?limit=1000").json()["items"]}
    send(hub, name, 0, pieces)
    tasks = hub.get("/api/v1/tasks?limit=1000").json()["items"]
    (part,) = [task["id"] for task in tasks if task["id"] not in before]
    assert hub.delete(f"/api/v1/uploads/{part}").status_code == 204
    last = send(hub, name, 1, pieces)
    assert (last.status_code, last.json()["received"]) == (200, 1)
    assert send(hub, name, 0, pieces).status_code == 201
    assert hub.get("/files", params={"filename": name}).content == b"".join(pieces)


def test_a_connection_that_breaks_leaves_nothing(hub: RunningHub, name: str) -> None:
    before = open_uploads(hub)

    def body() -> Iterator[bytes]:
        yield b'--B\r\nContent-Disposition: form-data; name="file"; filename="p"\r\n\r\n'
        yield noise(3 * MIB)
        raise ConnectionAbortedError

    kind = {"Content-Type": "multipart/form-data; boundary=B"}
    with pytest.raises((requests.ConnectionError, ConnectionAbortedError)):
        hub.post("/upload_chunk", data=body(), headers=kind)
    eventually(lambda: open_uploads(hub) == before)


def test_fields_may_stand_before_the_file_or_behind(hub: RunningHub, name: str) -> None:
    fields = {"filename": name, "chunkIndex": "0", "totalChunks": "1", "category": "c"}
    texts = "".join(
        f'--B\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'
        for key, value in fields.items()
    )
    file = '--B\r\nContent-Disposition: form-data; name="file"; filename="p"\r\n\r\nbytes\r\n'
    kind = {"Content-Type": "multipart/form-data; boundary=B"}
    records = []
    for body in (file + texts, texts + file):
        answer = hub.post("/upload_chunk", data=body + "--B--\r\n", headers=kind)
        assert answer.status_code == 201
        records.append(answer.json()["metadata"])
    assert records[0] == records[1]
    assert records[0]["category"] == "c"


def test_the_chunks_together_are_held_to_the_limits(tmp_path: Path) -> None:
    pieces = [b"x" * 600, b"x" * 600]
    for limit in ("DSX_MAX_FILE_SIZE", "DSX_QUOTA"):
        with running_hub(tmp_path / limit, **{limit: "1000"}) as hub:
            assert send(hub, limit, 0, pieces).status_code == 200
            answer = send(hub, limit, 1, pieces)
            assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
            assert versions(hub, limit) == 0


def test_a_server_that_dies_while_it_joins_chunks(tmp_path: Path, name: str) -> None:
    """A chunk that comes again after that goes on, and there is one file in the end."""
    pieces = [noise(64 * MIB), noise(64 * MIB), b"end"]
    digest = hashlib.sha256(b"".join(pieces)).hexdigest()
    with running_hub(tmp_path) as hub:
        for i in range(2):
            assert send(hub, name, i, pieces, digest).status_code == 200
        last = threading.Thread(target=lambda: _quietly(hub, name, pieces, digest))
        last.start()
        eventually(lambda: [upload for upload in open_uploads(hub) if upload["name"] == name])
        hub.kill()
        last.join()
    with running_hub(tmp_path) as hub:
        assert versions(hub, name) == 0
        start = time.monotonic()
        answer = send(hub, name, 0, pieces, digest)
        assert answer.status_code == 201
        assert time.monotonic() - start < 30
        assert answer.json()["metadata"]["sha256"] == digest
        assert send(hub, name, 2, pieces, digest).json() == answer.json()
        assert versions(hub, name) == 1


def _quietly(hub: RunningHub, name: str, pieces: list[bytes], digest: str) -> None:
    try:
        send(hub, name, 2, pieces, digest)
    except requests.RequestException:
        return
