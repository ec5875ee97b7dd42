"""A hub whose blobs are in a bucket, end to end, against Ceph's S3 gateway."""

from __future__ import annotations

import io
import json
import random
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.support.bitrot import scrubbed
from tests.support.ceph import SECRET_KEY, Ceph
from tests.support.hub import KEY, RunningHub, clean_environment, running_hub, start_hub
from tests.support.waiting import eventually
from tests.support.wire import stages
from tests.uploads.speakers import Native, Rufh, Speaker, Tus, path_of

from dsx.blobs.s3 import key
from dsx.core.digest import digest_of

FILES = "/api/v1/files"
LARGE = random.Random(1).randbytes(30_000_000)

pytestmark = pytest.mark.ledger("S2.28")


@pytest.fixture(scope="module")
def bucket(s3: Ceph) -> str:
    return s3.create_bucket()


@pytest.fixture(scope="module")
def variables(s3: Ceph, bucket: str) -> dict[str, str]:
    return s3.environment | {"DSX_STORAGE": f"s3://{bucket}", "DSX_QUOTA": "300MB"}


@pytest.fixture(scope="module")
def hub(
    variables: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningHub]:
    with running_hub(tmp_path_factory.mktemp("s3-hub"), **variables) as running:
        yield running
        assert SECRET_KEY not in running.log.read_text()


def unlike(seed: str) -> bytes:
    """Some bytes that no other test has."""
    return random.Random(seed).randbytes(100_000)


def there(s3: Ceph, bucket: str, data: bytes) -> bool:
    return key(digest_of(data)) in s3.objects(bucket)


def forget(hub: RunningHub, id_: object) -> None:
    assert hub.delete(f"{FILES}/{id_}").status_code == 204
    assert hub.delete(f"/api/v1/trash/{id_}").status_code == 204


def staging(hub: RunningHub) -> list[Path]:
    return stages(hub.data_dir)


def test_stored_served_and_purged(hub: RunningHub, s3: Ceph, bucket: str) -> None:
    record = hub.store("large.bin", LARGE)
    again = hub.store("same.bin", LARGE)
    path = f"{FILES}/{record['id']}/content"
    whole = hub.get(path)
    assert (whole.status_code, whole.content) == (200, LARGE)
    for range_, expected in (
        ("bytes=0-0", LARGE[:1]),
        ("bytes=7000000-25000000", LARGE[7_000_000:25_000_001]),
        ("bytes=-5", LARGE[-5:]),
    ):
        answer = hub.get(path, headers={"Range": range_})
        assert (answer.status_code, answer.content) == (206, expected)
    assert hub.get(path, headers={"Range": "bytes=30000000-"}).status_code == 416
    several = hub.get(path, headers={"Range": "bytes=0-1,9-10"})
    assert several.status_code == 206
    assert LARGE[9:11] in several.content
    forget(hub, again["id"])
    assert there(s3, bucket, LARGE)
    forget(hub, record["id"])
    assert not there(s3, bucket, LARGE)
    assert not staging(hub)
    assert not (hub.data_dir / "blobs").exists()


def test_empty_files(hub: RunningHub) -> None:
    record = hub.store("empty", b"")
    assert hub.get(f"{FILES}/{record['id']}/content").content == b""


@pytest.mark.parametrize("kind", [Tus, Rufh, Native])
def test_resumable_uploads(kind: type[Speaker], hub: RunningHub, s3: Ceph, bucket: str) -> None:
    data = LARGE + kind.__name__.encode()
    speaker = kind(hub, f"{kind.__name__}.bin", len(data))
    assert speaker.create().status_code in {201, 202, 204, 104}
    half = len(data) // 2
    assert speaker.append(0, data[:half]).ok
    assert not there(s3, bucket, data)
    assert speaker.append(half, data[half:]).ok
    if kind is Native:
        assert hub.post(f"{speaker.path}/finish").status_code == 201
    record = speaker.finish()
    assert hub.get(f"{FILES}/{record['id']}/content").content == data
    assert there(s3, bucket, data)
    forget(hub, record["id"])
    assert not there(s3, bucket, data)


def test_what_is_refused_leaves_nothing(hub: RunningHub, s3: Ceph, bucket: str) -> None:
    """The bytes are in the bucket before the transaction that finds no room for the file."""
    first = hub.store("first.bin", bytes(200_000_000))
    before = s3.objects(bucket)
    answer = hub.post(FILES, params={"name": "second.bin"}, data=b"x" * 150_000_000)
    assert answer.status_code == 413, answer.text
    assert s3.objects(bucket) == before
    forget(hub, first["id"])


def test_an_aborted_upload_leaves_nothing(hub: RunningHub, s3: Ceph, bucket: str) -> None:
    """Though its bytes were sent: its name was taken when it was finished."""
    speaker = Native(hub, "late.bin", 50_000_000)
    wanted = {"name": speaker.name, "length": speaker.length, "only_if_absent": True}
    speaker.path = path_of(hub.post("/api/v1/uploads", json=wanted))
    first = hub.store("late.bin", unlike("first"))
    before = s3.objects(bucket)
    assert speaker.append(0, b"y" * 50_000_000).ok
    assert hub.post(f"{speaker.path}/finish").status_code == 412
    assert speaker.abort().ok
    assert s3.objects(bucket) == before
    assert not staging(hub)
    forget(hub, first["id"])


def test_others_do_not_wait_for_an_upload(hub: RunningHub, s3: Ceph, bucket: str) -> None:
    """The catalog is written to while bytes are on their way into a bucket that hangs."""
    other = hub.store("other", unlike("other"))
    with ThreadPoolExecutor() as pool:
        storing = pool.submit(hub.store, "slow.bin", LARGE * 4)
        eventually(lambda: s3.unfinished(bucket) or storing.done())
        with s3.frozen():
            begun = time.monotonic()
            changed = hub.request("PATCH", f"{FILES}/{other['id']}", json={"tags": ["t"]})
            assert changed.status_code == 200, changed.text
            assert time.monotonic() - begun < 2
            assert not storing.done()
        forget(hub, storing.result()["id"])


def test_the_engine_is_away(hub: RunningHub, s3: Ceph) -> None:
    data = unlike("away")
    record = hub.store("away.bin", data)
    speaker = Tus(hub, "later.bin", 100_000)
    speaker.create()
    later = unlike("later")
    with s3.away():
        answer = hub.post(FILES, params={"name": "refused.bin"}, data=unlike("refused"))
        assert answer.status_code == 503, answer.text
        assert answer.json()["code"] == "unavailable"
        assert hub.get(f"{FILES}/{record['id']}").status_code == 200
        assert hub.get(f"{FILES}/{record['id']}/content").status_code == 503
        assert speaker.append(0, later).status_code == 503
    assert hub.get(f"{FILES}/{record['id']}/content").content == data
    assert speaker.append(100_000, b"").ok
    assert hub.get(f"{FILES}/{speaker.finish()['id']}/content").content == later
    assert not staging(hub)


def test_missing_bytes(hub: RunningHub, s3: Ceph, bucket: str) -> None:
    data = unlike("missing")
    record = hub.store("missing.bin", data)
    assert s3.request("DELETE", f"/{bucket}/{key(digest_of(data))}").ok
    answer = hub.get(f"{FILES}/{record['id']}/content")
    assert (answer.status_code, answer.json()["code"]) == (410, "damaged")
    archive = hub.get("/api/v1/archive", params={"id": record["id"]})
    assert archive.status_code == 410
    forget(hub, record["id"])


def test_archives_and_paused_downloads(hub: RunningHub) -> None:
    files = {"zip/small": unlike("small"), "zip/large": LARGE}
    for name, data in files.items():
        hub.store(name, data, category="zip")
    task = hub.post("/api/v1/tasks", json={"kind": "download", "category": "zip"}).json()
    path = f"/api/v1/tasks/{task['id']}"
    with hub.get(f"{path}/content", stream=True) as answer:
        assert answer.status_code == 200, answer.text
        received = answer.raw.read(5_000_000)
        assert hub.post(f"{path}/pause").json()["state"] == "paused"
        with ThreadPoolExecutor() as pool:
            rest = pool.submit(answer.raw.read)
            time.sleep(1)
            assert not rest.done()
            assert hub.post(f"{path}/resume").ok
            received += rest.result()
    with zipfile.ZipFile(io.BytesIO(received)) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == files
    assert eventually(lambda: hub.get(path).json()["state"] == "completed")


def test_restarts(variables: dict[str, str], s3: Ceph, tmp_path: Path) -> None:
    """After a crash in the middle of sending, the upload is finished by who asks again."""
    bucket = s3.create_bucket()
    variables |= {"DSX_STORAGE": f"s3://{bucket}"}
    kept = unlike("kept")
    data = LARGE * 4
    hub = start_hub(tmp_path, **variables)
    record = hub.store("kept", kept)
    speaker = Tus(hub, "interrupted.bin", len(data))
    speaker.create()
    with ThreadPoolExecutor() as pool:
        sending = pool.submit(speaker.append, 0, data)
        eventually(lambda: s3.unfinished(bucket) or sending.done())
        hub.kill()
    with running_hub(tmp_path, **variables) as hub:
        assert hub.get(f"{FILES}/{record['id']}/content").content == kept
        speaker.hub = hub
        offset = speaker.offset()
        assert speaker.append(offset, data[offset:]).ok
        assert hub.get(f"{FILES}/{speaker.finish()['id']}/content").content == data
    report = fsck(tmp_path, variables)
    assert (report["blobs"], report["orphans"], report["problem_count"]) == (2, 0, 0)
    assert s3.request("DELETE", f"/{bucket}/{key(digest_of(kept))}").ok
    report = fsck(tmp_path, variables)
    lost = {"digest": digest_of(kept), "problem": "missing", "names": ["kept"]}
    assert report["problems"] == [lost]


def test_h4_damaged_objects_are_found_and_healed(
    variables: dict[str, str], s3: Ceph, tmp_path: Path
) -> None:
    bucket = s3.create_bucket()
    with running_hub(tmp_path, **(variables | {"DSX_STORAGE": f"s3://{bucket}"})) as hub:
        kept = unlike("rotten")
        record = hub.store("rotten", kept)
        path = f"/{bucket}/{key(digest_of(kept))}"
        assert s3.request("PUT", path, data=b"?" + kept[1:]).ok
        assert scrubbed(hub)["found"] == 1
        answer = hub.get(f"{FILES}/{record['id']}/content")
        assert (answer.status_code, answer.json()["code"]) == (410, "damaged")
        hub.store("right", kept)
        assert hub.get(f"{FILES}/{record['id']}/content").content == kept
        assert scrubbed(hub)["found"] == 0


def fsck(directory: Path, variables: dict[str, str]) -> dict[str, object]:
    command = [sys.executable, "-m", "dsx", "--json", "fsck", "--deep"]
    settings = {"DSX_DATA_DIR": str(directory / "data"), "DSX_API_KEY": KEY}
    environment = clean_environment(**settings, **variables)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    report: dict[str, object] = json.loads(done.stdout)
    return report


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_bucket_that_cannot_be_used(
    variables: dict[str, str], tmp_path: Path, workers: str
) -> None:
    wrong = {"DSX_STORAGE": "s3://nowhere", "DSX_API_KEY": KEY, "DSX_PORT": "0"}
    environment = clean_environment(**variables | wrong, DSX_WORKERS=workers)
    command = [sys.executable, "-m", "dsx", "serve"]
    done = subprocess.run(
        command,
        check=False,
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 2
    assert "s3://nowhere: The object store's bucket does not exist." in done.stderr
