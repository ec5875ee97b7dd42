"""H4: damaged bytes are found, never served, and healed by the right ones."""

from __future__ import annotations

import hashlib
import random
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from tests.support.bitrot import blob_of, flip, last_of, scrubbed
from tests.support.commands import Commands, lines
from tests.support.hub import RunningHub, running_hub, start_hub
from tests.support.waiting import eventually
from tests.uploads.speakers import CHUNK, TUS, Native, Rufh, Speaker, Tus, encoded, path_of

SIZE = 300_000


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    """A hub of its own: what is damaged here must not be found elsewhere."""
    with running_hub(tmp_path_factory.mktemp("rot"), DSX_SCRUB_RATE="1GiB") as running:
        yield running


def stored(hub: RunningHub, name: str) -> tuple[dict[str, Any], bytes]:
    """A file whose content nobody else has, and its content."""
    data = random.Random(name).randbytes(SIZE)
    return hub.store(name, data, category=name), data


def found_damaged(hub: RunningHub, name: str) -> tuple[dict[str, Any], bytes]:
    """A stored file of which a bit has flipped, which the hub has found out."""
    record, data = stored(hub, name)
    flip(blob_of(hub, record))
    assert scrubbed(hub)["found"] >= 1
    return record, data


def readers(hub: RunningHub, record: dict[str, Any]) -> dict[str, requests.Response]:
    """The answers of every way to read a file."""
    id_, name = record["id"], record["name"]
    other = hub.store(f"beside-{name}", b"intact")["id"]
    place = {"place": {"kind": "file", "value": record["file"]}}
    link = hub.post("/api/v1/shares", json=place).json()["url"]
    every = {"place": {"kind": "category", "value": name}}
    archive = hub.post("/api/v1/shares", json=every).json()["url"]
    task = hub.post("/api/v1/tasks", json={"kind": "download", "ids": [id_, other]}).json()
    seed = hub.post("/create_task").json()
    content = f"/api/v1/files/{id_}/content"
    return {
        "content": hub.get(content),
        "head": hub.request("HEAD", content),
        "range": hub.get(content, headers={"Range": "bytes=5-9"}),
        "ranges": hub.get(content, headers={"Range": "bytes=5-9,20-29"}),
        "suffix": hub.get(content, headers={"Range": "bytes=-1"}),
        "archive": hub.get("/api/v1/archive", params={"id": [other, id_]}),
        "archive range": hub.get(
            "/api/v1/archive", params={"id": [other, id_]}, headers={"Range": "bytes=0-9"}
        ),
        "archive by POST": hub.post("/api/v1/archive", json={"ids": [other, id_]}),
        "link": requests.get(link, timeout=30),
        "link to many": requests.get(archive, timeout=30),
        "link to one of many": requests.get(f"{archive}/{name}", timeout=30),
        "task": hub.get(f"/api/v1/tasks/{task['id']}/content"),
        "tinydist": hub.get("/files", params={"id": id_}),
        "tinydist archive": hub.get("/files", params={"id": [other, id_]}),
        "datastore": hub.get(f"/download_file/{seed['task_id']}"),
        "storage": hub.get(f"/storage/download/{id_}/"),
    }


def test_h4_damaged_bytes_are_found_and_served_to_nobody(hub: RunningHub) -> None:
    record, data = stored(hub, "rotten.bin")
    for name, answer in readers(hub, record).items():
        assert answer.status_code in {200, 206}, (name, answer.status_code, answer.text)
    flip(blob_of(hub, record))
    assert scrubbed(hub)["found"] == 1
    for name, answer in readers(hub, record).items():
        assert answer.status_code == 410, (name, answer.status_code)
        if name != "head":
            assert "damaged" in answer.text, name
    problem = hub.get(f"/api/v1/files/{record['id']}/content").json()
    assert problem["code"] == "damaged"
    assert problem["details"] == {"id": record["id"], "sha256": record["sha256"]}
    found = hub.get("/api/v1/scrub/findings").json()["items"]
    assert [(one["sha256"], one["problem"]) for one in found] == [
        (record["sha256"], "has other content")
    ]
    assert found[0]["files"][0]["name"] == "rotten.bin"
    assert "dsx_blobs_damaged 1.0" in hub.get("/metrics").text
    assert hub.get("/api/v1/scrub").json()["damaged"] == 1
    assert hub.get(f"/api/v1/files/{record['id']}").status_code == 200
    healed = hub.store("other name", data)
    assert healed["sha256"] == record["sha256"]
    for name, answer in readers(hub, record).items():
        assert answer.status_code in {200, 206}, (name, answer.status_code)
    assert hub.get(f"/api/v1/files/{record['id']}/content").content == data
    assert hub.get("/api/v1/scrub").json()["damaged"] == 0
    assert scrubbed(hub)["found"] == 0


def test_h4_missing_and_truncated_bytes_are_damage_too(hub: RunningHub) -> None:
    cut, cut_data = stored(hub, "cut.bin")
    gone, gone_data = stored(hub, "gone.bin")
    long, long_data = stored(hub, "long.bin")
    for record, size in ((cut, SIZE - 1), (long, SIZE + 1)):
        blob_of(hub, record).chmod(0o600)
        with blob_of(hub, record).open("r+b") as file:
            file.truncate(size)
        answer = hub.get(f"/api/v1/files/{record['id']}/content")  # before anybody looked for it
        assert (answer.status_code, answer.json()["code"]) == (410, "damaged")
    blob_of(hub, gone).unlink()
    assert scrubbed(hub)["found"] == 3
    found = {one["sha256"]: one for one in hub.get("/api/v1/scrub/findings").json()["items"]}
    assert found[cut["sha256"]]["problem"] == f"has {SIZE - 1} bytes instead of {SIZE}"
    assert found[gone["sha256"]]["problem"] == "missing"
    for record, data in ((cut, cut_data), (gone, gone_data), (long, long_data)):
        answer = hub.get(f"/api/v1/files/{record['id']}/content")
        assert (answer.status_code, answer.json()["code"]) == (410, "damaged")
        hub.store(record["name"], data)
        assert hub.get(f"/api/v1/files/{record['id']}/content").content == data


def raw(hub: RunningHub, data: bytes) -> None:
    hub.store("healing", data)


def form(hub: RunningHub, data: bytes) -> None:
    answer = hub.post("/api/v1/files", files={"file": ("healing", data)})
    assert answer.status_code == 201, answer.text


def spoken(kind: type[Speaker]) -> Callable[[RunningHub, bytes], None]:
    def heal(hub: RunningHub, data: bytes) -> None:
        speaker = kind(hub, f"healing by {kind.__name__}", len(data))
        assert speaker.create().status_code == 201
        for start in (0, 100_000, 200_000):
            assert speaker.append(start, data[start : start + 100_000]).status_code < 300
        speaker.finish()

    return heal


def concatenated(hub: RunningHub, data: bytes) -> None:
    parts = []
    for part in (data[:1000], data[1000:]):
        fields = {"Upload-Length": str(len(part)), "Upload-Concat": "partial"}
        path = path_of(hub.post("/uploads", headers=TUS | fields))
        sent = hub.request("PATCH", path, headers=TUS | CHUNK | {"Upload-Offset": "0"}, data=part)
        assert sent.status_code == 204
        parts.append(path)
    fields = {
        "Upload-Concat": f"final;{' '.join(parts)}",
        "Upload-Metadata": encoded(filename="healing"),
    }
    assert hub.post("/uploads", headers=TUS | fields).status_code == 201


def tinydist(hub: RunningHub, data: bytes) -> None:
    answer = hub.post("/upload", files={"file": ("healing", data)})
    assert answer.status_code < 300, answer.text


def tinydist_chunks(hub: RunningHub, data: bytes) -> None:
    for number, start in enumerate((0, 150_000)):
        chunk = data[start : start + 150_000]
        fields = {
            "filename": "healing",
            "chunkIndex": str(number),
            "totalChunks": "2",
        }
        answer = hub.post("/upload_chunk", files={"file": ("part", chunk)}, data=fields)
        assert answer.status_code < 300, answer.text


def datastore(hub: RunningHub, data: bytes) -> None:
    task = hub.post("/create_task").json()["task_id"]
    answer = hub.request("PUT", f"/upload_file/{task}", params={"filename": "healing"}, data=data)
    assert answer.status_code == 201, answer.text


def fileserver(hub: RunningHub, data: bytes) -> None:
    assert hub.request("PUT", "/upload=healing", data=data).status_code == 201


def storage(hub: RunningHub, data: bytes) -> None:
    answer = hub.post(
        "/storage/tmp-upload/",
        files={"file": ("healing", data)},
        data={"filename": "healing", "md5": hashlib.md5(data).hexdigest()},
    )
    assert answer.status_code == 201, answer.text


def storage_parts(hub: RunningHub, data: bytes) -> None:
    span = {"Content-Range": f"bytes 0-{SIZE - 1}/{SIZE}"}
    begun = hub.request(
        "PUT",
        "/storage/tmp-upload/",
        headers=span,
        files={"file": ("p", data)},
        data={"filename": "healing"},
    )
    assert begun.status_code == 200, begun.text
    path = "/" + begun.json()["url"].split("/", 3)[3]
    done = hub.post(path, data={"md5": hashlib.md5(data).hexdigest()})
    assert done.status_code < 300, done.text


WAYS = {
    "raw": raw,
    "form": form,
    "native": spoken(Native),
    "tus": spoken(Tus),
    "rufh": spoken(Rufh),
    "concatenated": concatenated,
    "tinydist": tinydist,
    "tinydist_chunks": tinydist_chunks,
    "datastore": datastore,
    "fileserver": fileserver,
    "storage": storage,
    "storage_parts": storage_parts,
}


def test_h4_every_way_to_upload_heals(hub: RunningHub) -> None:
    harmed = {way: stored(hub, f"harmed-{way}") for way in WAYS}
    for record, _ in harmed.values():
        flip(blob_of(hub, record))
    assert scrubbed(hub)["found"] == len(WAYS)
    for way, (record, data) in harmed.items():
        assert hub.get(f"/api/v1/files/{record['id']}/content").status_code == 410
        WAYS[way](hub, data)
        answer = hub.get(f"/api/v1/files/{record['id']}/content")
        assert (answer.status_code, answer.content == data) == (200, True), way
    assert scrubbed(hub)["found"] == 0


def test_h4_who_proves_possession_sends_what_is_damaged(hub: RunningHub) -> None:
    """The hub would make a file of what it does not have any more."""
    record, data = found_damaged(hub, "proof")
    new = {"name": "proven", "length": SIZE, "sha256": record["sha256"]}
    begun = hub.post("/api/v1/uploads", json=new)
    upload = begun.json()
    quoted = b"".join(data[start:stop] for start, stop in upload["challenge"]["places"])
    proof = hashlib.sha256(bytes.fromhex(upload["challenge"]["nonce"]) + quoted).hexdigest()
    refused = hub.post(f"/api/v1/uploads/{upload['id']}/proof", json={"proof": proof})
    assert refused.status_code == 403
    hub.store("proof", data)


def test_h4_a_cycle_goes_on_after_a_crash_and_one_process_does_it(tmp_path: Path) -> None:
    slow = {"DSX_SCRUB_RATE": "2MiB"}
    hub = start_hub(tmp_path, **slow)
    try:
        records = [stored(hub, f"slow-{number}")[0] for number in range(60)]
        hub.post("/api/v1/scrub")
        first = eventually(lambda: progress(hub, "checked"))
        hub.kill()
        hub = start_hub(tmp_path, **slow, DSX_WORKERS="2")
        going = eventually(lambda: progress(hub, "checked") - first if progress(hub) else 0, 40)
        assert going > 0
        last = eventually(lambda: (last_of(hub) or {}).get("checked") and last_of(hub), 60)
        assert last["checked"] == len(records)  # nothing twice, nothing left out
    finally:
        hub.stop()


def progress(hub: RunningHub, what: str = "begun") -> Any:
    """A figure of the present cycle."""
    cycle = hub.get("/api/v1/scrub").json()["kinds"][0]["cycle"]
    return cycle and cycle[what]


def test_h4_the_command_tells_what_is_damaged(hub: RunningHub, tmp_path: Path) -> None:
    run = Commands(tmp_path, {"SERVER_URL": hub.url, "DSX_API_KEY": hub.key})
    assert "everything is checked every 30 days" in run("scrub").stdout.decode()
    record, data = found_damaged(hub, "told.bin")
    told = run("scrub", code=6)
    assert "told.bin version 1: has other content" in told.stdout.decode()
    assert "1 blobs are damaged" in told.stderr.decode()
    (finding,) = lines(run("scrub", "--findings", "--json", code=6))
    assert finding["sha256"] == record["sha256"]
    assert b"damaged" in run("download", record["id"], "-o", "x", code=6).stderr
    hub.store("told.bin", data)
    assert b"check starts" in run("scrub", "--now").stdout


def test_h4_fsck_marks_what_it_finds(tmp_path: Path) -> None:
    with running_hub(tmp_path, DSX_SCRUB_DAYS="0") as hub:
        record, data = stored(hub, "fsck.bin")
        flip(blob_of(hub, record))
        check = Commands(tmp_path, {"DSX_DATA_DIR": str(hub.data_dir)})
        assert b"has other content" in check("fsck", "--deep", code=6).stdout
        answer = hub.get(f"/api/v1/files/{record['id']}/content")
        assert (answer.status_code, answer.json()["code"]) == (410, "damaged")
        assert b"has other content" in check("fsck", code=6).stdout  # it is remembered
        hub.store("fsck.bin", data)
        check("fsck", "--deep")


def test_h4_files_in_place_are_checked_too(tmp_path: Path) -> None:
    """A bit flips below the file system: neither times nor inode tell of it."""
    with running_hub(tmp_path, DSX_SCRUB_DAYS="0") as hub:
        directory = hub.dataset_path / "set"
        directory.mkdir()
        for name in ("good.bin", "bad.bin"):
            (directory / name).write_bytes(random.Random(name).randbytes(SIZE))
        ready = "/api/v1/datasets/set"
        assert eventually(lambda: hub.get(ready).json()["state"] == "ready", 60)
        flipped = random.Random("bad.bin").randbytes(SIZE - 1) + b"?"
        rot(hub, directory / "bad.bin", flipped)
        assert scrubbed(hub, "datasets")["found"] == 1
        for answer in (
            hub.get(f"{ready}/files/bad.bin"),
            hub.get(f"{ready}/files/bad.bin", headers={"Range": "bytes=0-9"}),
            hub.get("/file/set/bad.bin"),
            hub.post(f"{ready}/pack", json={}),
            hub.post(f"{ready}/pack", json={"paths": ["good.bin", "bad.bin"]}),
        ):
            assert answer.status_code == 410
            assert "damaged" in answer.text
        assert hub.get(f"{ready}/files/good.bin").status_code == 200
        assert hub.post(f"{ready}/pack", json={"paths": ["good.bin"]}).status_code == 200
        (found,) = hub.get("/api/v1/scrub/findings/datasets").json()["items"]
        assert (found["dataset"], found["path"]) == ("set", "bad.bin")
        (directory / "bad.bin").write_bytes(b"the right one")
        assert hub.get(f"{ready}/files/bad.bin").content == b"the right one"
        assert hub.post(f"{ready}/pack", json={}).status_code == 200
        assert eventually(lambda: hub.get("/api/v1/scrub").json()["damaged_in_place"] == 0, 60)


def rot(hub: RunningHub, path: Path, data: bytes) -> None:
    """Change a file, then have the index believe that it always was as it is now.

    No program can change bytes without the change time telling; disks can.
    """
    with sqlite3.connect(hub.data_dir / "catalog.db", timeout=30) as catalog:
        before = catalog.execute(
            "SELECT sha256 FROM dataset_files WHERE path = ?", (path.name,)
        ).fetchone()
        path.write_bytes(data)
        told = hub.get(f"/api/v1/datasets/set/files/{path.name}")
        assert told.content == data

    catalog.close()

    def indexed() -> bool:
        with sqlite3.connect(hub.data_dir / "catalog.db", timeout=30) as catalog:
            (now,) = catalog.execute(
                "SELECT sha256 FROM dataset_files WHERE path = ?", (path.name,)
            ).fetchone()
            if now not in {None, before[0]}:
                catalog.execute(
                    "UPDATE dataset_files SET sha256 = ? WHERE path = ?", (before[0], path.name)
                )
        catalog.close()
        return now not in {None, before[0]}

    eventually(indexed, 60)


@pytest.mark.parametrize("how", ["removed", "cut short"])
def test_what_fsck_finds_is_healed_by_uploading_it_again(tmp_path: Path, how: str) -> None:
    """It is not taken for what is stored already, though nobody has read it."""
    with running_hub(tmp_path, DSX_SCRUB_DAYS="0") as hub:
        record, data = stored(hub, "lost.bin")
        blob = blob_of(hub, record)
        blob.chmod(0o600)
        blob.unlink() if how == "removed" else blob.write_bytes(data[:5])
        answer = hub.get(f"/api/v1/files/{record['id']}/content")
        assert (answer.status_code, answer.json()["code"]) == (410, "damaged")
        check = Commands(tmp_path, {"DSX_DATA_DIR": str(hub.data_dir)})
        found = check("fsck", code=6)
        assert b"lost.bin: " in found.stdout
        assert b"upload the original files to repair them" in found.stderr
        (tmp_path / "lost.bin").write_bytes(data)
        upload = Commands(tmp_path, {"SERVER_URL": hub.url, "DSX_API_KEY": hub.key})
        assert b"unchanged" not in upload("upload", "lost.bin").stdout
        assert hub.get(f"/api/v1/files/{record['id']}/content").content == data
        check("fsck", "--deep")
