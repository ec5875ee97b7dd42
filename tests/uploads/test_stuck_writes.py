"""A write that is stuck in the kernel comes after another sender's bytes were acknowledged."""

from __future__ import annotations

import hashlib
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests
from tests.support.failing_disk import library
from tests.support.hub import RunningHub, running_hub
from tests.support.waiting import eventually

UPLOADS = "/api/v1/uploads"
BEFORE = b"recorded before" * 1000
STUCK = b"STUCKWRITE" + b"a" * 99_990
LATER = b"others' bytes" + b"b" * 99_987
TUS = {"Tus-Resumable": "1.0.0", "Content-Type": "application/offset+octet-stream"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stuck")


@pytest.fixture(scope="module")
def hubs(root: Path) -> Iterator[tuple[RunningHub, RunningHub]]:
    """Two servers of one data directory; writes get stuck in the first."""
    stuck = {"LD_PRELOAD": str(library("stuck_write")), "STUCK_GATE": str(root / "gate")}
    shared = {"DSX_DATA_DIR": str(root / "data")}
    with ExitStack() as stack:
        first = stack.enter_context(running_hub(root / "first", **stuck, **shared))
        second = stack.enter_context(running_hub(root / "second", **shared))
        yield first, second


@pytest.fixture
def gate(root: Path) -> Path:
    """What the writes wait at; shut."""
    path = root / "gate"
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    return path


def _put(hub: RunningHub, id_: str, protocol: str, data: bytes) -> requests.Response:
    offset = len(BEFORE)
    if "native" in protocol:
        return hub.request("PUT", f"{UPLOADS}/{id_}/parts/{offset}", data=data)
    headers = TUS | {"Upload-Offset": str(offset)}
    return hub.request("PATCH", f"/uploads/{id_}", data=data, headers=headers)


@pytest.mark.parametrize("protocol", ["native", "native, before it is finished", "tus"])
@pytest.mark.parametrize(("other", "stopped"), [(0, False), (1, False), (1, True)])
def test_a_stuck_write_lands_in_no_file(
    hubs: tuple[RunningHub, RunningHub], gate: Path, protocol: str, other: int, stopped: bool
) -> None:
    """Whether the newcomer comes to the same process or to another, and that goes on or not."""
    first, second = hubs[0], hubs[other]
    length = len(BEFORE) + len(STUCK)
    made = first.post(UPLOADS, json={"name": "stuck.bin", "length": length})
    id_ = made.json()["id"]
    assert first.request("PUT", f"{UPLOADS}/{id_}/parts/0", data=BEFORE).status_code == 200
    told: list[requests.Response] = []
    sending = threading.Thread(target=lambda: told.append(_put(first, id_, protocol, STUCK)))
    sending.start()
    assert eventually((gate / "in").exists, 30)
    if stopped:
        hubs[0].process.send_signal(signal.SIGSTOP)
    answer = _put(second, id_, protocol, LATER)
    assert answer.status_code in {200, 204}, answer.text

    def let_it_land() -> None:
        (gate / "open").touch()
        hubs[0].process.send_signal(signal.SIGCONT)
        assert eventually((gate / "out").exists, 30)
        sending.join(30)

    if "before" in protocol:
        let_it_land()
    if "native" in protocol:
        assert second.post(f"{UPLOADS}/{id_}/finish").status_code == 201
    if "before" not in protocol:
        let_it_land()
    file = second.get(f"{UPLOADS}/{id_}").json()["file"]
    assert told[0].status_code in {409, 410}, told[0].text
    content = second.get(f"/api/v1/files/{file['id']}/content").content
    assert content == BEFORE + LATER
    assert hashlib.sha256(content).hexdigest() == file["sha256"]
    for hub in hubs:
        hub.store("after", b"x")  # the catalog is whole
