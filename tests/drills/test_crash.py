"""kill -9 at random instants during uploads: what was acknowledged stays, the rest never shows."""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import requests
from tests.support.hub import RunningHub, clean_environment, start_hub
from tests.support.wire import stages

UPLOADERS = 4


class Uploader(threading.Thread):
    """Uploads files of random sizes until the server is gone; remembers what was acknowledged."""

    def __init__(self, hub: RunningHub, seed: str) -> None:
        super().__init__()
        self.hub, self.random, self.seed = hub, random.Random(seed), seed
        self.acknowledged: dict[str, str] = {}
        self.attempted: dict[str, str] = {}

    def run(self) -> None:
        with requests.Session() as session:
            for number in range(10_000):
                size = self.random.choice([0, 100, 20_000, 3_000_000])
                data = self.random.randbytes(size)
                name, digest = f"{self.seed}/{number}", hashlib.sha256(data).hexdigest()
                self.attempted[name] = digest
                try:
                    answer = session.post(
                        f"{self.hub.url}/api/v1/files",
                        params={"name": name},
                        data=data,
                        headers={"Authorization": self.hub.key},
                        timeout=30,
                    )
                except requests.RequestException:
                    return
                if answer.status_code == 201:
                    self.acknowledged[name] = digest


def fsck(hub: RunningHub) -> dict[str, object]:
    ended = subprocess.run(
        [sys.executable, "-m", "dsx", "--json", "fsck", "--deep", "--data-dir", hub.data_dir],
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    report: dict[str, object] = json.loads(ended.stdout)
    return report


def listed(hub: RunningHub) -> dict[str, str]:
    found: dict[str, str] = {}
    cursor: str | None = None
    while True:
        params = {"limit": "1000"} | ({"cursor": cursor} if cursor else {})
        page = hub.get("/api/v1/files", params=params).json()
        found |= {item["name"]: item["sha256"] for item in page["items"]}
        cursor = page["next"]
        if cursor is None:
            return found


def crash_rounds(directory: Path, rounds: int, seed: int) -> None:
    instants = random.Random(seed)
    acknowledged: dict[str, str] = {}
    attempted: dict[str, str] = {}
    for number in range(rounds):
        hub = start_hub(directory)
        uploaders = [Uploader(hub, f"{number}-{n}") for n in range(UPLOADERS)]
        for uploader in uploaders:
            uploader.start()
        time.sleep(instants.uniform(0.02, 0.6))
        hub.kill()
        for uploader in uploaders:
            uploader.join()
            acknowledged |= uploader.acknowledged
            attempted |= uploader.attempted
    hub = start_hub(directory)
    try:
        found = listed(hub)
        assert acknowledged
        assert acknowledged.items() <= found.items()
        assert found.items() <= attempted.items()
        for name in instants.sample(sorted(found), min(50, len(found))):
            item = hub.get("/api/v1/files", params={"name": name}).json()["items"][0]
            data = hub.get(item["url"]).content
            assert hashlib.sha256(data).hexdigest() == attempted[name]
    finally:
        assert hub.stop() == 0
    report = fsck(hub)
    assert report["problems"] == []
    assert not stages(hub.data_dir)


def test_crashes_lose_nothing(tmp_path: Path) -> None:
    crash_rounds(tmp_path, rounds=4, seed=1)


@pytest.mark.drill
def test_fifty_crashes_lose_nothing(tmp_path: Path) -> None:
    crash_rounds(tmp_path, rounds=50, seed=2)
