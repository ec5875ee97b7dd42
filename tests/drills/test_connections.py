"""Drills 14 and 15: slow senders and idle sockets, by the thousand; figures are printed."""

from __future__ import annotations

import contextlib
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.http.test_many_connections import connect, metric
from tests.http.test_slow_senders import MIB, aborted
from tests.support.hub import RunningHub, running_hub
from tests.support.memory import cpu_seconds, rss
from tests.support.waiting import in_time
from tests.support.wire import Wire, wire

from dsx.transport.admission import OF_EACH, OWN

pytestmark = pytest.mark.drill


@pytest.fixture(autouse=True)
def _many_sockets() -> Iterator[None]:
    """As many as the system allows to this process."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def answers(hub: RunningHub, until: Callable[[], bool]) -> list[float]:
    """Milliseconds of ``/health`` on one connection, asked every 5 ms; the wait for a turn, too."""
    took = []
    with wire(hub) as connection:
        due = time.perf_counter()
        while not until():
            due += 0.005
            time.sleep(max(0, due - time.perf_counter()))
            assert connection.ask("GET", "/health").status == 200
            took.append((time.perf_counter() - due) * 1000)
    return sorted(took)


def p99(took: list[float]) -> float:
    return took[int(len(took) * 0.99)]


def passed(seconds: float) -> Callable[[], bool]:
    """Whether so many seconds have passed, from now on."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() > end


def trickle(sockets: list[socket.socket], stop: threading.Event) -> None:
    """A byte on each, every ten seconds."""
    while not stop.wait(10):
        for one in sockets:
            with contextlib.suppress(OSError):
                one.send(b"a")


def open_still(sockets: list[socket.socket]) -> int:
    """How many the server has not closed; an answer that says so comes first."""
    count = 0
    for one in sockets:
        one.setblocking(False)
        try:
            while one.recv(65536):
                pass
        except BlockingIOError:
            count += 1
        except OSError:
            continue
    return count


def test_drill_14_slow_senders_are_cut_and_nobody_else_waits(tmp_path: Path) -> None:
    """From when all have been let in until all have been cut off, the cutting included."""
    with running_hub(tmp_path, DSX_STALL_TIMEOUT="30") as hub, ExitStack() as stack:
        alone = answers(hub, passed(30))
        head = (
            f"POST /api/v1/files?name=slow HTTP/1.1\r\nHost: x\r\nAuthorization: {hub.key}\r\n"
            "Content-Length: 9000000\r\n\r\n"
        ).encode()
        sockets = []
        begun = time.monotonic()
        for number in range(2000):
            one = connect(hub, stack)
            one.send(b"GET /health HTTP/1.1\r\nX-" if number % 2 else head)
            sockets.append(one)
        in_time(lambda: answers(hub, passed(1))[-1] < 20, 10)  # their heads have been served
        let_in = time.monotonic() - begun
        stop = threading.Event()
        sending = threading.Thread(target=trickle, args=(sockets, stop))
        sending.start()
        beside = answers(hub, passed(40 - let_in))
        left = open_still(sockets)
        stop.set()
        sending.join()
    print(f"drill 14: 2000 let in after {let_in:.1f} s, {left} of them open after 40 s")
    print(f"drill 14: p99 alone {p99(alone):.1f} ms, beside {p99(beside):.1f} ms")
    print(f"drill 14: longest alone {alone[-1]:.0f} ms, beside {beside[-1]:.0f} ms")
    assert left == 0
    assert p99(beside) < 2 * p99(alone)


def test_drill_15_idle_connections_below_the_limit(tmp_path: Path) -> None:
    with running_hub(tmp_path) as hub, ExitStack() as stack:
        hub.store("small", b"x" * 1000)
        _, hard = resource.prlimit(hub.process.pid, resource.RLIMIT_NOFILE)
        idle = min(10_000, int((hard - OWN) / OF_EACH) - 250)
        active = [Wire(hub) for _ in range(200)]
        for one in active:
            stack.callback(one.close)
        before = rss(hub)
        for _ in range(idle):
            connect(hub, stack)
        opened = rss(hub)
        statuses: dict[int, int] = {}
        for _ in range(3):
            for one in active:
                status = one.ask("GET", "/api/v1/files?limit=1").status
                statuses[status] = statuses.get(status, 0) + 1
        figures = active[0].ask("GET", "/metrics").body.decode()
        present, after = metric(figures, "dsx_http_connections"), rss(hub)
    print(f"drill 15: {idle} idle, {present:.0f} open; answers {statuses}")
    print(f"drill 15: RSS {before / MIB:.0f} → {opened / MIB:.0f} → {after / MIB:.0f} MiB")
    assert statuses == {200: 600}
    assert metric(figures, "dsx_http_connections_refused_total") == 0
    assert after - opened < 32 * MIB


@pytest.mark.parametrize("most", [1000, 16_384])
def test_drill_15_idle_connections_beyond_the_limit(tmp_path: Path, most: int) -> None:
    """Beyond what the hub allows itself, and beyond the descriptors that it has."""
    seconds = 10.0
    with running_hub(tmp_path, DSX_MAX_CONNECTIONS=str(most)) as hub, ExitStack() as stack:
        kept = Wire(hub)
        stack.callback(kept.close)
        assert kept.ask("GET", "/health").status == 200
        if most > 1000:
            _, hard = resource.prlimit(hub.process.pid, resource.RLIMIT_NOFILE)
            resource.prlimit(hub.process.pid, resource.RLIMIT_NOFILE, (1000, hard))
        for _ in range(1500):
            connect(hub, stack)
        time.sleep(2)  # those beyond are told to come back
        size, busy = hub.log.stat().st_size, cpu_seconds(hub)
        time.sleep(seconds)
        busy = (cpu_seconds(hub) - busy) / seconds
        logged = (hub.log.stat().st_size - size) / seconds
        lines = hub.log.read_text().count("connections refused")
    print(f"drill 15: limit {most}: {busy:.1%} of a core, {logged:.0f} B/s of log, {lines} lines")
    assert busy < 0.05
    assert logged < 1024
    assert lines >= 1


def test_drill_memory_after_aborted_uploads(tmp_path: Path) -> None:
    with running_hub(tmp_path) as hub:
        grown = aborted(hub, 300)
    print(f"300 aborted uploads: RSS grew by {grown / MIB:.1f} MiB")
    assert grown < 32 * MIB
