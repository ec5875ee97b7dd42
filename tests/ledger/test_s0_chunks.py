"""S0 (tinydist seed): files in chunks. Its README names no route; C1 says which one it is."""

from __future__ import annotations

import hashlib
import json
import random
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from tests.support.hub import RunningHub, running_hub
from tests.support.shell import sh
from tests.support.waiting import eventually
from tests.support.wire import stages


@pytest.fixture
def shell(hub: RunningHub, tmp_path: Path) -> Any:
    """Runs a command with $B, the server, and $T, the token."""

    def call(command: str, **variables: str) -> str:
        return sh(command, tmp_path, B=hub.url, T=hub.key, **variables)

    return call


def uploaded(answer: str) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(answer)["metadata"]
    return record


@pytest.fixture
def parts(tmp_path: Path) -> str:
    """p0, p1 and p2, of different sizes; the SHA-256 of the whole, which is ``whole``."""
    data = random.Random(6).randbytes(300_007)
    for number, (start, stop) in enumerate([(0, 100_000), (100_000, 100_001), (100_001, None)]):
        (tmp_path / f"p{number}").write_bytes(data[start:stop])
    (tmp_path / "whole").write_bytes(data)
    return hashlib.sha256(data).hexdigest()


SEND = (
    "curl -fF file=@p$i -F filename=$N -F chunkIndex=$i -F totalChunks=3 -F category=x "
    '-F checksum=$SUM -H "Authorization: $T" $B/upload_chunk'
)


@pytest.mark.ledger("S0.6")
@pytest.mark.parametrize("algorithm", ["sha256", "sha1", "md5"])
def test_s0_6_chunked_upload(shell: Any, tmp_path: Path, parts: str, algorithm: str) -> None:
    name = f"big-{algorithm}.bin"
    told = shell(
        f"SUM=$({algorithm}sum <whole | cut -d' ' -f1); for i in 0 1 2; do {SEND}; echo; done",
        N=name,
    )
    *earlier, last = map(json.loads, told.splitlines())
    assert [answer["metadata"] for answer in earlier] == [None, None]
    assert [answer["received"] for answer in earlier] == [1, 2]
    record = last["metadata"]
    assert (record["filename"], record["category"]) == (name, "x")
    assert record["sha256"] == parts
    shell('curl -fH "Authorization: $T" -o o "$B/files?filename=$N"; cmp o whole', N=name)


@pytest.mark.ledger("S0.7")
def test_s0_7_chunks_out_of_order_and_twice(hub: RunningHub, shell: Any, parts: str) -> None:
    chunk = f"{SEND}; echo"
    for i in ("2", "0"):
        assert json.loads(shell(chunk, i=i, N="shuffled.bin", SUM=parts))["metadata"] is None
    assert hub.get("/files?filename=shuffled.bin").status_code == 404
    names = [item["filename"] for item in hub.get("/metadata/list").json()]
    assert "shuffled.bin" not in names
    made = uploaded(shell(chunk, i="1", N="shuffled.bin", SUM=parts))
    for i in ("1", "0"):
        assert uploaded(shell(chunk, i=i, N="shuffled.bin", SUM=parts)) == made
    assert made["version"] == 1
    assert made["sha256"] == parts
    assert (
        hub.get("/files?filename=shuffled.bin").content
        == hub.get(f"/files?id={made['id']}").content
    )


def open_uploads(hub: RunningHub) -> set[str]:
    found = hub.get("/api/v1/uploads", params={"limit": 1000}).json()["items"]
    return {item["id"] for item in found}


def chunk(
    hub: RunningHub, data: bytes, name: str, index: object, total: object, **fields: str
) -> requests.Response:
    told = {"filename": name, "chunkIndex": str(index), "totalChunks": str(total)} | fields
    return hub.post("/upload_chunk", files={"file": ("p", data)}, data=told)


@pytest.mark.ledger("S0.7")
@pytest.mark.parametrize("workers", ["1", "2"])
def test_s0_7_chunks_in_parallel_each_twice(tmp_path: Path, workers: str) -> None:
    data = random.Random(7).randbytes(20 * 4096)
    pieces = [data[i * 4096 : (i + 1) * 4096] for i in range(20)]
    digest = hashlib.md5(data).hexdigest()
    order = random.Random(8).sample([*range(20), *range(20)], 40)
    with running_hub(tmp_path, DSX_WORKERS=workers) as hub, ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(lambda i: chunk(hub, pieces[i], "p.bin", i, 20, checksum=digest), order)
        )
        assert {answer.status_code for answer in answers} <= {200, 201}
        (record,) = hub.get("/metadata/list").json()
        assert record["version"] == 1
        assert hub.get("/files?filename=p.bin").content == data
        again = chunk(hub, pieces[3], "p.bin", 3, 20, checksum=digest.upper())
        assert again.status_code == 201
        assert again.json()["metadata"] == record
        assert chunk(hub, b"other", "p.bin", 3, 20, checksum=digest).status_code == 409
        hub.delete("/delete?filename=p.bin")
        for i, piece in enumerate(pieces):
            answer = chunk(hub, piece, "p.bin", i, 20, checksum=digest)
        assert answer.json()["metadata"]["id"] > record["id"]


@pytest.mark.ledger("S0.6", "S0.7")
def test_s0_7_a_wrong_checksum_lists_nothing_and_can_be_sent_again(hub: RunningHub) -> None:
    digest = hashlib.sha1(b"onetwo").hexdigest()
    assert chunk(hub, b"one", "wrong.bin", 0, 2, checksum=digest).status_code == 200
    answer = chunk(hub, b"TWO", "wrong.bin", 1, 2, checksum=digest)
    assert answer.status_code == 422
    assert answer.json()["code"] == "digest_mismatch"
    assert hub.get("/files?filename=wrong.bin").status_code == 404
    assert chunk(hub, b"two", "wrong.bin", 1, 2, checksum=digest).json()["received"] == 1
    assert chunk(hub, b"one", "wrong.bin", 0, 2, checksum=digest).status_code == 201
    assert hub.get("/files?filename=wrong.bin").content == b"onetwo"


@pytest.mark.ledger("S0.6", "S0.7")
def test_s0_7_other_bytes_for_a_chunk_are_refused(hub: RunningHub) -> None:
    assert chunk(hub, b"one", "other.bin", 0, 2).status_code == 200
    refused = chunk(hub, b"eno", "other.bin", 0, 2)
    assert refused.status_code == 409
    assert "checksum" in refused.json()["detail"]
    assert chunk(hub, b"", "other.bin", 1, 2).status_code == 201
    assert hub.get("/files?filename=other.bin").content == b"one"


@pytest.mark.ledger("S0.6")
@pytest.mark.parametrize(
    ("index", "total", "checksum"),
    [
        ("3", "3", ""),
        ("-1", "3", ""),
        ("0", "0", ""),
        ("0", "10001", ""),
        ("a", "3", ""),
        ("0", "", ""),
        ("٣", "9", ""),
        ("9" * 5000, "3", ""),
        ("0", "3", "abc"),
        ("0", "3", "x" * 32),
    ],
)
def test_s0_6_numbers_that_make_no_sense_are_422(
    hub: RunningHub, index: str, total: str, checksum: str
) -> None:
    before = open_uploads(hub)
    assert chunk(hub, b"x", "n.bin", index, total, checksum=checksum).status_code == 422
    assert open_uploads(hub) == before


@pytest.mark.ledger("S0.6")
def test_s0_6_a_chunk_whose_form_is_wrong_leaves_nothing(hub: RunningHub) -> None:
    before = open_uploads(hub)
    assert hub.post("/upload_chunk", data=b"raw").status_code == 400
    nameless = {"chunkIndex": "0", "totalChunks": "1"}
    answer = hub.post("/upload_chunk", data=nameless, files={"file": (None, b"x")})
    assert answer.status_code == 422
    assert chunk(hub, b"x", "../up", 0, 1).status_code == 400
    assert chunk(hub, b"x", "a", 0, 1, category="\n").status_code == 400
    assert open_uploads(hub) == before


@pytest.mark.ledger("S0.6", "S0.7")
def test_s0_7_chunks_wait_for_the_rest_as_long_as_some_come(tmp_path: Path) -> None:
    settings = {"DSX_UPLOAD_EXPIRY": "6", "DSX_COLLECT_INTERVAL": "0.1"}
    with running_hub(tmp_path, **settings) as hub:
        for i in range(3):
            answer = chunk(hub, b"%d" % i, "slow.bin", i, 3)
            time.sleep(3.5 if i < 2 else 0)
        assert answer.status_code == 201
        assert hub.get("/files?filename=slow.bin").content == b"012"


@pytest.mark.ledger("S0.6", "S0.7")
def test_s0_7_unfinished_chunks_expire_and_survive_a_crash_till_then(tmp_path: Path) -> None:
    settings = {"DSX_UPLOAD_EXPIRY": "4", "DSX_COLLECT_INTERVAL": "0.2"}
    with running_hub(tmp_path, **settings) as hub:
        assert chunk(hub, b"a" * 100_000, "c.bin", 0, 2).status_code == 200
        hub.kill()
    with running_hub(tmp_path, **settings) as hub:
        done = chunk(hub, b"b", "c.bin", 1, 2)
        assert done.json()["metadata"]["size"] == 100_001
        assert chunk(hub, b"a", "late.bin", 0, 2).status_code == 200
        assert stages(tmp_path / "data")
        eventually(lambda: not stages(tmp_path / "data"))
        assert chunk(hub, b"b", "late.bin", 1, 2).json()["received"] == 1
