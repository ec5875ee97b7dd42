"""A large trash is emptied as a task, in a time that grows with it and no faster, and only once."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from tests.support.hub import RunningHub, running_hub
from tests.support.waiting import eventually

from dsx import DatasetHubClient

pytestmark = pytest.mark.drill


def fill(hub: RunningHub, count: int) -> None:
    """Put *count* files, each with a blob of its own, into the admin's trash."""
    instant = int(time.time() * 1_000_000)
    versions, blobs = [], []
    for number in range(count):
        data = f"{uuid.uuid4()}-{number}".encode()
        digest = hashlib.sha256(data).hexdigest()
        path = hub.data_dir / "blobs" / digest[:2] / digest
        path.write_bytes(data)
        id_ = str(uuid.uuid4())
        blobs.append((digest, len(data), 0, instant))
        versions.append((id_, id_, f"f{number}", len(data), digest, instant, instant + number))
    with closing(sqlite3.connect(hub.data_dir / "catalog.db", timeout=60)) as catalog, catalog:
        catalog.executemany(
            "INSERT INTO blobs (digest, size, crc32, created) VALUES (?, ?, ?, ?)", blobs
        )
        catalog.executemany(
            "INSERT INTO files (id, file, version, latest, owner, name, category, content_type, "
            "size, sha256, created, metadata, tags, trashed, expires) VALUES "
            "(?, ?, 1, 1, 'admin', ?, 'c', 'a/b', ?, ?, ?, '{}', '[]', ?, 1 << 60)",
            versions,
        )


def emptied(hub: RunningHub) -> float:
    """Seconds to empty it, as the SDK waits for that."""
    begun = time.monotonic()
    with DatasetHubClient(hub.url, hub.key) as client:
        client.empty_trash()
    return time.monotonic() - begun


@pytest.mark.timeout(1200)
def test_a_trash_of_60000_files(tmp_path: Path) -> None:
    with running_hub(tmp_path) as hub:
        fill(hub, 6_000)
        small = emptied(hub)
        fill(hub, 60_000)
        told: list[int] = []
        begun = time.monotonic()
        with ThreadPoolExecutor(2) as pool, DatasetHubClient(hub.url, hub.key) as client:
            first = pool.submit(client.empty_trash, lambda done, *_: told.append(done))
            eventually(lambda: told or first.done(), 60)
            second = pool.submit(client.empty_trash)
            assert first.result() == second.result() == 60_000
        large = time.monotonic() - begun
        tasks = [t for t in hub.get("/api/v1/tasks").json()["items"] if t["kind"] == "empty"]
        assert [t["done"] for t in tasks if t["done"] == 60_000] == [60_000]  # one task for both
        assert told == sorted(told)
        assert len(set(told)) > 3
        print(json.dumps({"6000": round(small, 2), "60000": round(large, 2)}))
        assert large < 25 * small
        assert hub.get("/api/v1/trash").json()["items"] == []
