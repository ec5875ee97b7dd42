"""Drill 6: one bit flips in each of 100 blobs."""

from __future__ import annotations

import random
import threading
from pathlib import Path
from typing import Any

import pytest
from tests.support.bitrot import blob_of, flip, scrubbed
from tests.support.hub import RunningHub, running_hub

BLOBS = 100
READERS = 4


@pytest.mark.drill
def test_drill_6_flipped_bits_are_found_and_not_served(tmp_path: Path) -> None:
    with running_hub(tmp_path, DSX_SCRUB_RATE="1GiB", DSX_SCRUB_DAYS="0") as hub:
        contents = {}
        for number in range(BLOBS):
            data = random.Random(number).randbytes(
                random.Random(-number).choice((40, 9_000, 10**6))
            )
            contents[hub.store(f"blob {number}", data)["id"]] = data
        records = hub.get("/api/v1/files", params={"limit": 1000}).json()["items"]
        for number, record in enumerate(records):
            flip(blob_of(hub, record), number)
        meanwhile = Reading(hub, contents)
        found = scrubbed(hub, seconds=600)["found"]
        wrong = meanwhile.stop()
        after = [hub.get(f"/api/v1/files/{id_}/content") for id_ in contents]
        refused = sum(
            answer.status_code == 410 and answer.json()["code"] == "damaged" for answer in after
        )
        healed = 0
        for number, (id_, data) in enumerate(contents.items()):
            hub.store(f"again {number}", data)
            healed += hub.get(f"/api/v1/files/{id_}/content").content == data
        print(
            f"drill 6: found {found}/{BLOBS}, refused afterwards {refused}/{BLOBS}, "
            f"healed {healed}/{BLOBS}; while they were being found: {wrong} wrong of "
            f"{meanwhile.count} reads"
        )
        assert found == refused == healed == BLOBS
        assert scrubbed(hub)["found"] == 0


class Reading:
    """Clients that read all the time; counts what was wrong."""

    def __init__(self, hub: RunningHub, contents: dict[str, bytes]) -> None:
        self.hub = hub
        self.contents = list(contents.items())
        self.count = self.wrong = 0
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._read, args=(n,)) for n in range(READERS)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> int:
        """End; how many reads got other bytes than those that were stored."""
        self._over.set()
        for thread in self._threads:
            thread.join()
        return self.wrong

    def _read(self, seed: int) -> None:
        chosen: Any = random.Random(seed)
        while not self._over.is_set():
            id_, data = chosen.choice(self.contents)
            answer = self.hub.get(f"/api/v1/files/{id_}/content")
            with self._lock:
                self.count += 1
                self.wrong += answer.status_code == 200 and answer.content != data
