"""kill -9 in the middle of resumable uploads: what was acknowledged is there, the rest goes on."""

from __future__ import annotations

import contextlib
import hashlib
import random
import threading
import time
from pathlib import Path

import pytest
import requests
from tests.drills.test_crash import fsck
from tests.support.hub import RunningHub, start_hub
from tests.support.wire import stages
from tests.uploads.speakers import SPEAKERS, Native, Speaker

SIZE = 12 * 1024**2


def send_until_killed(speaker: Speaker, data: bytes, acknowledged: list[int]) -> threading.Thread:
    """Send requests of random sizes from where the upload stands; note each one's answer."""

    def send() -> None:
        with contextlib.suppress(requests.RequestException):
            offset = speaker.offset()
            acknowledged.append(offset)
            while offset < len(data):
                size = random.choice([100_000, 1_000_000, 4_000_000, len(data)])
                answer = speaker.append(offset, data[offset : offset + size])
                if not answer.ok:
                    return
                offset = min(len(data), offset + size)
                acknowledged.append(offset)

    thread = threading.Thread(target=send)
    thread.start()
    return thread


@pytest.mark.drill
def test_two_hundred_crashes(tmp_path: Path) -> None:
    crash(tmp_path, rounds=200, seed=7)


def test_crashes_in_the_middle_of_resumable_uploads(tmp_path: Path) -> None:
    crash(tmp_path, rounds=5, seed=8)


def crash(directory: Path, rounds: int, seed: int) -> None:
    random.seed(seed)
    uploads: list[tuple[Speaker, bytes, list[int]]] = []
    finished = 0
    hub = start_hub(directory)
    for number in range(rounds):
        while len(uploads) < len(SPEAKERS):
            uploads.append(begin(hub, f"crash-{number}-{len(uploads)}", number + len(uploads)))
        for speaker, _, acknowledged in uploads:
            speaker.hub = hub
            offset = speaker.offset()
            assert offset >= max(acknowledged, default=0), "an acknowledged byte is gone"
        threads = [send_until_killed(*upload) for upload in uploads]
        time.sleep(random.uniform(0.01, 0.25))
        hub.kill()
        for thread in threads:
            thread.join(30)
        hub = start_hub(directory)
        going_on = []
        for speaker, data, acknowledged in uploads:
            speaker.hub = hub
            if speaker.offset() < len(data):
                going_on.append((speaker, data, acknowledged))
                continue
            ended = speaker.append(len(data), b"", last=True)  # the IETF protocol is told
            assert ended.ok or ended.status_code == 409, ended.text
            assert speaker.finish()["sha256"] == hashlib.sha256(data).hexdigest()
            finished += 1
        uploads = going_on
    for speaker, data, _ in uploads:
        offset = speaker.offset()
        assert speaker.append(offset, data[offset:]).ok
        assert speaker.finish()["sha256"] == hashlib.sha256(data).hexdigest()
        finished += 1
    assert hub.stop() == 0
    assert stages(hub.data_dir) == []
    report = fsck(hub)
    assert (report["problem_count"], report["stages"]) == (0, 0)
    assert finished
    print(f"\n{rounds} crashes, {finished} uploads finished, all equal")


def begin(hub: RunningHub, name: str, index: int) -> tuple[Speaker, bytes, list[int]]:
    data = random.randbytes(SIZE)
    kinds = [*SPEAKERS]
    speaker = kinds[index % len(kinds)](hub, name, SIZE)
    assert speaker.create().status_code == 201
    assert isinstance(speaker, Native) or speaker.path.startswith("/uploads/")
    return speaker, data, []
