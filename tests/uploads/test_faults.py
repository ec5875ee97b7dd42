"""The faults an upload may meet, and the answer each one gets. Numbers are those of the list in
the design notes: 1 is a wrong offset, 30 a download meanwhile."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.support.digests import sha256
from tests.support.hub import RunningHub, running_hub
from tests.support.waiting import eventually
from tests.support.wire import Wire
from tests.uploads.conftest import Begin, noise
from tests.uploads.speakers import (
    CHUNK,
    INTEROP,
    SPEAKERS,
    TUS,
    Native,
    Rufh,
    Speaker,
    Tus,
)
from tests.uploads.wires import dial, lines

MIB = 1024**2


def start_sending(speaker: Speaker, offset: int, size: int, data: bytes) -> Wire:
    """A request of *size* bytes of which *data* has been sent; the connection stays open."""
    method, path, fields = speaker.head_of(offset, size, last=offset + size == speaker.length)
    wire = dial(speaker.hub)
    wire.send(wire.head(method, path, *lines(fields), f"Content-Length: {size}") + data)
    return wire


def until_at_least(speaker: Speaker, offset: int, seconds: float = 5) -> int:
    """What GET /api/v1/uploads/{id} says, which disturbs nobody, once it is *offset* or more."""
    id_ = speaker.path.rsplit("/", 1)[1]
    deadline = time.monotonic() + seconds
    while True:
        found = int(speaker.hub.get(f"/api/v1/uploads/{id_}").json()["offset"])
        if found >= offset or time.monotonic() > deadline:
            return found
        time.sleep(0.05)


@pytest.mark.parametrize("kind", [Tus, Rufh])
def test_1_wrong_offset_tells_the_right_one(hub: RunningHub, kind: type[Speaker]) -> None:
    speaker = kind(hub, f"f1-{kind.__name__}", 100)
    speaker.create()
    assert speaker.append(0, noise(40)).ok
    for wrong in (0, 39, 41, 60):
        answer = speaker.append(wrong, b"x" * 10)
        assert answer.status_code == 409
        assert answer.headers["Upload-Offset"] == "40"
    assert speaker.offset() == 40


def test_2_identical_part_again(hub: RunningHub) -> None:
    data = noise(3 * MIB)
    speaker = Native(hub, "f2", len(data))
    speaker.create()
    for _ in range(2):
        assert speaker.append(MIB, data[MIB : 2 * MIB]).status_code == 200
    assert speaker.append(MIB // 2, data[MIB // 2 :]).status_code == 200  # overlapping, too
    assert speaker.append(0, data[:MIB]).status_code == 200
    assert speaker.finish()["sha256"] == sha256(data)


def test_3_other_bytes_for_the_same_part(hub: RunningHub) -> None:
    data = noise(2 * MIB)
    speaker = Native(hub, "f3", len(data))
    speaker.create()
    assert speaker.append(0, data[:MIB]).ok
    changed = bytearray(data)
    changed[MIB - 1] ^= 1
    for start in (0, MIB // 2):
        answer = speaker.append(start, bytes(changed[start:]))
        assert (answer.status_code, answer.json().get("code")) == (409, "conflict")
    assert speaker.append(MIB, data[MIB:]).ok
    assert speaker.finish()["sha256"] == sha256(data)


def test_4_out_of_order_part(hub: RunningHub, tus: Begin) -> None:
    speaker = Native(hub, "f4", 30)
    speaker.create()
    answer = speaker.append(10, b"b" * 10)
    assert (answer.status_code, answer.json()["offset"]) == (200, 0)
    assert answer.json()["received"] == [[10, 20]]
    assert tus(30).append(10, b"b" * 10).status_code == 409


def test_5_part_digest_that_does_not_fit(hub: RunningHub, tus: Begin) -> None:
    data = noise(3 * MIB)
    wrong = base64.b64encode(hashlib.sha1(b"other").digest()).decode()
    right = base64.b64encode(hashlib.sha1(data).digest()).decode()
    speaker = tus(len(data))
    for digest, status, offset in ((wrong, 460, 0), (right, 204, len(data))):
        fields = TUS | CHUNK | {"Upload-Offset": "0", "Upload-Checksum": f"sha1 {digest}"}
        answer = hub.request("PATCH", speaker.path, data=data, headers=fields)
        assert answer.status_code == status
        assert speaker.offset() == offset
    native = Native(hub, "f5", len(data))
    native.create()
    digest = base64.b64encode(hashlib.sha256(b"other").digest()).decode()
    fields = {"Content-Digest": f"sha-256=:{digest}:"}
    answer = hub.request("PUT", f"{native.path}/parts/0", data=data, headers=fields)
    assert (answer.status_code, answer.json()["code"]) == (400, "part_corrupt")
    assert native.offset() == 0


def test_6_final_digest_that_does_not_fit(hub: RunningHub) -> None:
    data = noise(1000)
    facts = {"name": "f6", "length": 1000, "sha256": sha256(b"other")}
    path = hub.post("/api/v1/uploads", json=facts).headers["Location"]
    assert hub.request("PUT", f"{path}/parts/0", data=data).ok
    for _ in range(2):
        answer = hub.post(f"{path}/finish")
        assert (answer.status_code, answer.json().get("code")) == (422, "digest_mismatch")
    assert hub.get("/api/v1/files", params={"name": "f6"}).json()["items"] == []
    assert hub.get(path).json()["offset"] == 1000


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha256"])
def test_6_every_digest_of_the_whole_is_checked(hub: RunningHub, algorithm: str) -> None:
    data = noise(5000)
    facts = {"name": f"f6-{algorithm}", "length": 5000}
    for digest, status in ((hashlib.new(algorithm, data).hexdigest(), 201), ("0" * 64, 422)):
        size = len(hashlib.new(algorithm).hexdigest())
        path = hub.post("/api/v1/uploads", json={**facts, algorithm: digest[:size]}).headers[
            "Location"
        ]
        hub.request("PUT", f"{path}/parts/0", data=data)
        assert hub.post(f"{path}/finish").status_code == status


def test_7_unknown_algorithm(hub: RunningHub, tus: Begin) -> None:
    fields = TUS | CHUNK | {"Upload-Offset": "0", "Upload-Checksum": "crc99 AAAA"}
    assert hub.request("PATCH", tus(4).path, data=b"data", headers=fields).status_code == 400
    native = Native(hub, "f7", 4)
    native.create()
    fields = {"Content-Digest": "crc99=:AAAA:"}
    answer = hub.request("PUT", f"{native.path}/parts/0", data=b"data", headers=fields)
    assert answer.status_code == 400


def test_8_body_beyond_the_length(begin: Begin) -> None:
    speaker = begin(10)
    answer = speaker.append(0, b"x" * 11, last=False)
    assert answer.status_code == 413
    found = speaker.hub.get(f"/api/v1/uploads/{speaker.path.rsplit('/', 1)[1]}")
    if isinstance(speaker, Rufh):
        assert found.status_code == 410  # invalidated, as the draft asks
    else:
        assert found.json()["offset"] == 0


def test_8_chunked_body_beyond_the_length(hub: RunningHub, tus: Begin) -> None:
    speaker = tus(10)
    fields = TUS | CHUNK | {"Upload-Offset": "0"}
    pieces = iter([b"x" * 6, b"y" * 6])
    answer = hub.request("PATCH", speaker.path, data=pieces, headers=fields)
    assert answer.status_code == 413
    assert speaker.offset() <= 10
    assert hub.get("/api/v1/files", params={"name": speaker.name}).json()["items"] == []


def test_9_disconnect_keeps_the_prefix(begin: Begin) -> None:
    data = noise(5 * MIB)
    speaker = begin(len(data))
    sent = 2 * MIB + 12345
    wire = start_sending(speaker, 0, len(data), data[:sent])
    time.sleep(0.3)
    wire.socket.close()
    if isinstance(speaker, Native):  # whose GET waits for nobody
        until_at_least(speaker, sent)
    offset = speaker.offset()
    assert offset == sent
    assert speaker.append(offset, data[offset:]).ok
    assert speaker.finish()["sha256"] == sha256(data)


def test_9_disconnect_by_reset(begin: Begin) -> None:
    data = noise(5 * MIB)
    speaker = begin(len(data))
    wire = start_sending(speaker, 0, len(data), data[: 2 * MIB])
    assert until_at_least(speaker, MIB) >= MIB
    wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    wire.socket.close()
    time.sleep(0.5)
    offset = speaker.offset()
    assert MIB <= offset <= 2 * MIB
    assert speaker.append(offset, data[offset:]).ok
    assert speaker.finish()["sha256"] == sha256(data)


def test_10_newcomer_wins_over_a_stale_writer(begin: Begin) -> None:
    data = noise(4 * MIB)
    speaker = begin(len(data))
    stale = start_sending(speaker, 0, len(data), data[:MIB])
    assert until_at_least(speaker, MIB) == MIB
    began = time.monotonic()
    offset = speaker.offset()
    answer = speaker.append(
        0 if isinstance(speaker, Native) else offset,
        data[offset if not isinstance(speaker, Native) else 0 :],
    )
    assert answer.ok, answer.text
    assert time.monotonic() - began < 1
    assert speaker.finish()["sha256"] == sha256(data)
    assert stale.answer().status in {409, 410}


def test_11_two_finishers_make_one_file(hub: RunningHub) -> None:
    data = noise(MIB)
    speaker = Native(hub, "f11", len(data))
    speaker.create()
    speaker.append(0, data)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: speaker.finish()["id"], range(8)))
    assert len(set(found)) == 1
    assert len(hub.get(f"/api/v1/files/{found[0]}/versions").json()["items"]) == 1


def test_12_final_reply_lost(begin: Begin) -> None:
    data = noise(MIB)
    speaker = begin(len(data))
    wire = start_sending(speaker, 0, len(data), data)
    wire.socket.close()  # whatever the answer is, nobody reads it
    # Asking by tus or the draft would have the sender yield.
    look = f"/api/v1/uploads/{speaker.path.rsplit('/', 1)[1]}"
    eventually(lambda: speaker.hub.get(look).json()["offset"] == len(data))
    if isinstance(speaker, Tus):
        eventually(lambda: speaker.hub.get(look).json()["state"] == "finished")
    records = [speaker.finish() for _ in range(2)]
    assert records[0]["id"] == records[1]["id"]
    assert records[0]["sha256"] == sha256(data)
    again = speaker.append(len(data), b"")
    assert again.status_code in {200, 204, 201, 409}
    assert speaker.finish()["version"] == 1


def test_25_aborted_uploads_stay_so(begin: Begin) -> None:
    speaker = begin(10 * MIB)
    late = start_sending(speaker, 0, 10 * MIB, noise(MIB))
    assert until_at_least(speaker, MIB) == MIB
    assert speaker.abort().status_code == 204
    with contextlib.suppress(OSError):  # it may be cut off while it is sending
        late.send(bytes(9 * MIB))
        assert late.answer().status in {404, 409, 410}
    answer = speaker.append(MIB, bytes(100), last=False)
    assert answer.status_code in {404, 410}
    assert speaker.hub.get("/api/v1/files", params={"name": speaker.name}).json()["items"] == []
    id_ = speaker.path.rsplit("/", 1)[1]
    deadline = time.monotonic() + 5
    while (speaker.hub.data_dir / "staging" / id_).exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_30_downloads_and_reads_are_not_blocked(begin: Begin) -> None:
    speaker = begin(10 * MIB)
    stored = speaker.hub.store(speaker.name, b"the version before")
    wire = start_sending(speaker, 0, 10 * MIB, noise(MIB))
    with wire.socket:
        assert until_at_least(speaker, MIB) == MIB
        began = time.monotonic()
        assert speaker.hub.get(stored["url"]).content == b"the version before"
        id_ = speaker.path.rsplit("/", 1)[1]
        assert speaker.hub.get(f"/api/v1/uploads/{id_}").json()["offset"] == MIB
        assert time.monotonic() - began < 0.5


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    """A hub with little patience: things expire in 2 s and stall after 1 s; 50 MB an owner."""
    settings = {
        "DSX_UPLOAD_EXPIRY": "2",
        "DSX_STALL_TIMEOUT": "1",
        "DSX_MIN_RATE": "0",
        "DSX_COLLECT_INTERVAL": "0.3",
        "DSX_QUOTA": "50MB",
    }
    with running_hub(tmp_path_factory.mktemp("strict"), **settings) as hub:
        yield hub


def test_14_quota(strict: RunningHub) -> None:
    for kind in SPEAKERS:
        answer = kind(strict, "f14", 60_000_000).create()
        assert answer.status_code == 413, answer.text
    first, second = Native(strict, "f14-1", 30_000_000), Native(strict, "f14-2", 30_000_000)
    assert first.create().status_code == 201
    assert second.create().status_code == 413  # what is promised counts
    assert first.append(0, bytes(30_000_000)).ok
    assert second.create().status_code == 413
    assert strict.post(f"{first.path}/finish").status_code == 201
    assert (
        strict.post("/api/v1/files", params={"name": "f14-3"}, data=bytes(30_000_000)).status_code
        == 413
    )


def test_23_expired(strict: RunningHub) -> None:
    for kind in SPEAKERS:
        speaker = kind(strict, f"f23-{kind.__name__}", 100)
        speaker.create()
        speaker.append(0, b"x" * 10)
        time.sleep(2.6)
        assert speaker.append(10, b"x" * 10).status_code == 410
        id_ = speaker.path.rsplit("/", 1)[1]
        assert not (strict.data_dir / "staging" / id_).exists()


def test_23_never_in_the_middle_of_a_request(strict: RunningHub) -> None:
    data = noise(500)
    speaker = Tus(strict, "f23-slow", len(data))
    speaker.create()
    wire = start_sending(speaker, 0, len(data), b"")
    for start in range(0, 500, 50):
        wire.send(data[start : start + 50])
        time.sleep(0.4)
    assert wire.answer().status == 204
    assert speaker.finish()["sha256"] == sha256(data)


def test_28_stalled_sender(strict: RunningHub) -> None:
    data = noise(3 * MIB)
    for kind in SPEAKERS:
        speaker = kind(strict, f"f28-{kind.__name__}", len(data))
        speaker.create()
        wire = start_sending(speaker, 0, len(data), data[: MIB + 7])
        assert wire.answer().status == 408
        assert speaker.offset() == MIB + 7
        assert speaker.append(MIB + 7, data[MIB + 7 :]).ok
        assert speaker.finish()["sha256"] == sha256(data)


def test_27_small_parts_work_behind_a_proxy_with_limits(hub: RunningHub) -> None:
    """Limits are told, and any number of small requests make one file."""
    answer = hub.request("OPTIONS", "/uploads", headers=INTEROP)
    assert "Upload-Limit" in answer.headers
    assert answer.headers["Accept-Patch"] == "application/partial-upload"
    data = noise(300_000)
    speaker = Rufh(hub, "f27", len(data))
    speaker.create()
    for start in range(0, len(data), 30_000):
        answer = speaker.append(start, data[start : start + 30_000])
        assert answer.ok
        assert (
            re.search(r"max-age=\d+", answer.headers["Upload-Limit"]) or answer.status_code == 201
        )
    assert speaker.finish()["sha256"] == sha256(data)


def test_10_many_newcomers(hub: RunningHub, tmp_path: Path) -> None:
    """32 writers on one upload: some are superseded, none spoils it, it can be finished."""
    data = noise(8 * MIB)
    speaker = Native(hub, "f10-32", len(data))
    speaker.create()
    spans = [(n * MIB // 4, min(len(data), n * MIB // 4 + MIB)) for n in range(32)]
    statuses: list[int] = []
    lock = threading.Lock()

    def write(span: tuple[int, int]) -> None:
        answer = speaker.append(span[0], data[span[0] : span[1]])
        with lock:
            statuses.append(answer.status_code)

    with ThreadPoolExecutor(32) as pool:
        list(pool.map(write, spans))
    assert set(statuses) <= {200, 409}
    missing = hub.post(f"{speaker.path}/finish")
    for start, stop in missing.json().get("details", {}).get("missing", []):
        assert speaker.append(start, data[start:stop]).ok
    assert speaker.finish()["sha256"] == sha256(data)
