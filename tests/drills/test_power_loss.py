"""Drill 3: the power goes at any moment, and with it all that was not synced: every 2xx survives.

Writes, new names and renames that nobody synced are dropped: of files, stages and the catalog
(`tests/support/failing_disk.py`). A crash of the process alone cannot show a sync that is missing.
"""

from __future__ import annotations

import random
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import requests
from tests.drills.test_crash import fsck
from tests.faults import senders
from tests.faults.senders import Sender
from tests.support.digests import sha256
from tests.support.failing_disk import DEATH, FailingDisk
from tests.support.hub import RunningHub, start_hub

WAYS: tuple[Callable[[Sender], None], ...] = (
    senders.whole, senders.form, senders.parts, senders.tus, senders.tus_joined, senders.ietf,
    senders.tinydist_chunks, senders.datastore, senders.storage,
)  # fmt: skip


@dataclass
class Known:
    """What has been acknowledged: the promise."""

    files: dict[str, str] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)


class Client(threading.Thread):
    """Stores, deletes and purges until the server is gone."""

    def __init__(self, hub: RunningHub, known: Known, name: str) -> None:
        super().__init__()
        self.hub, self.known, self.label, self.random = hub, known, name, random.Random(name)

    def run(self) -> None:
        try:
            for number in range(1000):
                self.one(f"{self.label}-{number}")
        except requests.RequestException:
            return

    def one(self, name: str) -> None:
        data = self.random.randbytes(self.random.choice([1, 5_000, 60_000]))
        sender = Sender(self.hub, name, data)
        self.random.choice(WAYS)(sender)
        with self.known.lock:
            self.known.files[name] = sha256(data)
        if self.random.random() < 0.25:
            (item,) = self.hub.get("/api/v1/files", params={"name": name}).json()["items"]
            with self.known.lock:  # from here on it may be gone
                digest = self.known.files.pop(name)
            if self.hub.delete(f"/api/v1/files/{item['id']}").ok:
                with self.known.lock:
                    self.known.deleted.add(name)
                self.hub.delete(f"/api/v1/trash/{item['id']}")
            else:
                self.known.files[name] = digest


def lose_power_again_and_again(directory: Path, rounds: int, seed: int) -> None:
    instants = random.Random(seed)
    disk = FailingDisk(directory / "data", directory / "kept")
    known = Known()
    for number in range(rounds):
        hub = start_hub(directory, **disk.environment)
        clients = [Client(hub, known, f"{seed}-{number}-{index}") for index in range(3)]
        last_call = instants.randrange(1, 3000)
        with disk.failing(last_call, DEATH, catalog=2):
            for client in clients:
                client.start()
            deadline = time.monotonic() + instants.uniform(0.5, 4)
            while hub.process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.01)
            hub.kill()
        for client in clients:
            client.join()
        disk.lose_power(instants if number % 2 else None)
        lost = known.files.keys() - recorded(hub.data_dir, directory / "look")
        assert not lost, f"power loss {number}: {len(lost)} of {len(known.files)}: {sorted(lost)}"
    hub = start_hub(directory, **disk.environment)
    try:
        check(hub, known)
    finally:
        assert hub.stop() == 0
    report = fsck(hub)
    assert report["problems"] == []
    print(f"\n{rounds} power losses: {len(known.files)} files acknowledged, all there and right")


def recorded(data_dir: Path, look: Path) -> set[str]:
    """The names of files in the catalog, of which a copy is looked at."""
    look.mkdir(exist_ok=True)
    for name in ("catalog.db", "catalog.db-wal"):
        (look / name).unlink(missing_ok=True)
        if (data_dir / name).exists():
            shutil.copy(data_dir / name, look / name)
    with closing(sqlite3.connect(look / "catalog.db")) as catalog:
        rows = catalog.execute("SELECT name FROM files WHERE trashed IS NULL").fetchall()
    return {name for (name,) in rows}


def check(hub: RunningHub, known: Known) -> None:
    """What was acknowledged is there, and what was deleted is not."""
    assert known.files
    found: dict[str, str] = {}
    cursor: str | None = None
    while True:
        params = {"limit": "1000"} | ({"cursor": cursor} if cursor else {})
        page = hub.get("/api/v1/files", params=params).json()
        for item in page["items"]:
            found[item["name"]] = item["sha256"]
            assert sha256(hub.get(item["url"]).content) == item["sha256"]
        cursor = page["next"]
        if cursor is None:
            break
    lost = known.files.items() - found.items()
    assert not lost, f"{len(lost)} acknowledged files are gone: {sorted(lost)[:5]}"
    assert not known.deleted & found.keys()


def test_drill_3_two_power_losses(tmp_path: Path) -> None:
    lose_power_again_and_again(tmp_path, rounds=2, seed=3)


@pytest.mark.drill
def test_drill_3_a_hundred_power_losses(tmp_path: Path) -> None:
    lose_power_again_and_again(tmp_path, rounds=100, seed=4)
