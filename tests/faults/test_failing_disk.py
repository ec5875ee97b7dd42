"""C1: a disk that fails at any moment costs a repetition, never a byte that was acknowledged.

Every n-th write, sync, rename and truncation under the data directory fails, for every way to bring
a file in. What was acknowledged then has to be right, and a client that goes on has to succeed.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.drills.test_crash import fsck
from tests.faults import senders
from tests.faults.senders import SENDERS, Sender
from tests.support.digests import sha256
from tests.support.failing_disk import CHANGES, EIO, ENOSPC, SHORT, SYNC, FailingDisk
from tests.support.hub import RunningHub, start_hub

SIZE = 60_000
_numbers = iter(range(1_000_000))


@dataclass
class Walk:
    """A hub on a failing disk, and what has happened so far."""

    hub: RunningHub
    disk: FailingDisk
    injected: int = 0
    acknowledged: int = 0
    wrong: int = 0
    refused: int = 0
    sent: dict[str, bytes] = field(default_factory=dict)

    def send(self, send: Callable[[Sender], None], number: int, failure: int, **how: int) -> bool:
        """One file while the *number*-th call fails; whether so many were made."""
        name = f"{send.__name__}-{next(_numbers)}"
        data = random.Random(name).randbytes(SIZE)
        sender = Sender(self.hub, name, data)
        with self.disk.failing(number, failure, **how) as control:
            send(sender)
            failed, last = control.failed, control.last.decode()
        self.disk.forget()
        self.injected += failed
        self.acknowledged += 1
        self.sent[name] = data
        self.refused += sender.refusals
        self.compare(name, data, f"{send.__name__}: call {number}, {last}, failed by {failure}")
        return bool(failed)

    def compare(self, name: str, data: bytes, about: str) -> None:
        """The file is what was sent."""
        items = self.hub.get("/api/v1/files", params={"name": name}).json()["items"]
        assert items, f"not there: {about}"
        answer = self.hub.get(items[0]["url"])
        if (answer.status_code, answer.content, items[0]["sha256"]) != (200, data, sha256(data)):
            self.wrong += 1
        assert not self.wrong, f"wrong bytes: {about}"

    def all_of(self, send: Callable[[Sender], None], failure: int, **how: int) -> None:
        """Every n there is."""
        number = 1
        while self.send(send, number, failure, **how):
            number += 1

    def __str__(self) -> str:
        return (
            f"{self.injected} failures injected, {self.refused} requests refused, "
            f"{self.acknowledged} files acknowledged, {self.wrong} of them wrong"
        )


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walk]:
    directory = tmp_path_factory.mktemp("failing")
    disk = FailingDisk(directory / "data", directory / "kept")
    hub = start_hub(directory, **disk.environment)
    walk = Walk(hub, disk)
    try:
        yield walk
        print(f"\n{walk}")
    finally:
        assert hub.stop() == 0
    log = hub.log.read_text()
    assert "unforeseen" not in log
    assert fsck(hub)["problem_count"] == 0


@pytest.mark.parametrize("send", SENDERS)
def test_c1_every_call_fails_once(walk: Walk, send: Callable[[Sender], None]) -> None:
    """EIO; what a failed sync loses is gone at once."""
    walk.all_of(send, EIO)


@pytest.mark.parametrize(
    ("send", "kinds"), [(senders.whole, CHANGES), (senders.tus, SYNC)], ids=["whole", "tus"]
)
def test_c1_calls_on_the_catalog_fail(
    tmp_path: Path, send: Callable[[Sender], None], kinds: int
) -> None:
    """What was acknowledged meanwhile survives that the power goes in the end."""
    walk_catalog(tmp_path, send, EIO, kinds=kinds)


@pytest.mark.drill
@pytest.mark.parametrize("failure", [EIO, ENOSPC, SHORT])
@pytest.mark.parametrize("clean", [False, True])
@pytest.mark.parametrize("send", SENDERS)
def test_c1_every_call_on_the_catalog_fails(
    tmp_path: Path, send: Callable[[Sender], None], failure: int, clean: bool
) -> None:
    walk_catalog(tmp_path, send, failure, clean=clean)


@pytest.mark.drill
@pytest.mark.parametrize("failure", [EIO, ENOSPC, SHORT])
@pytest.mark.parametrize("clean", [False, True])
@pytest.mark.parametrize("send", SENDERS)
def test_c1_every_call_fails_in_every_way(
    walk: Walk, send: Callable[[Sender], None], failure: int, clean: bool
) -> None:
    for repeat in (1, 2):
        walk.all_of(send, failure, clean=clean, repeat=repeat)


def walk_catalog(directory: Path, send: Callable[[Sender], None], failure: int, **how: int) -> None:
    disk = FailingDisk(directory / "data", directory / "kept")
    hub = start_hub(directory, **disk.environment)
    walk = Walk(hub, disk)
    try:
        walk.all_of(send, failure, catalog=1, **how)
        hub.kill()
        disk.lose_power()
        walk.hub = hub = start_hub(directory, **disk.environment)
        for name, data in walk.sent.items():
            walk.compare(name, data, "after the power was lost")
        print(f"\n{walk}")
    finally:
        hub.stop()
    assert "unforeseen" not in hub.log.read_text()
    assert fsck(hub)["problem_count"] == 0
