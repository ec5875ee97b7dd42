"""H2: connections are bounded below the limit of open files; those beyond cost next to nothing."""

from __future__ import annotations

import json
import resource
import shlex
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.support.hub import RunningHub, running_hub
from tests.support.memory import cpu_seconds
from tests.support.started import free_port, started
from tests.support.waiting import eventually
from tests.support.wire import wire

FEW = 20


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    directory = tmp_path_factory.mktemp("narrow")
    with running_hub(directory, DSX_MAX_CONNECTIONS=str(FEW)) as hub:
        yield hub


def connect(hub: RunningHub, sockets: ExitStack) -> socket.socket:
    """A connection on which nothing is sent."""
    host, port = hub.url.removeprefix("http://").split(":")
    return sockets.enter_context(socket.create_connection((host, int(port)), timeout=20))


def metric(text: str, name: str) -> float:
    return next(float(line.split()[1]) for line in text.splitlines() if line.startswith(f"{name} "))


def refusals(hub: RunningHub) -> list[dict[str, object]]:
    lines = hub.log.read_text().splitlines()
    return [json.loads(line) for line in lines if '"connections refused"' in line]


def test_h2_connections_beyond_the_limit_are_told_to_come_back(narrow: RunningHub) -> None:
    with wire(narrow) as kept, ExitStack() as sockets:
        assert kept.ask("GET", "/health").status == 200
        for _ in range(FEW - 1):
            connect(narrow, sockets)
        for _ in range(3):
            with wire(narrow) as beyond:
                begun = time.monotonic()
                answer = beyond.answer()  # before anything is asked
                assert time.monotonic() - begun < 5
                assert answer.status == 503
                assert answer.headers["retry-after"] == "1"
                assert answer.headers["connection"] == "close"
                assert answer.headers["access-control-allow-origin"] == "*"
                assert json.loads(answer.body)["code"] == "unavailable"
                assert beyond.ended()
        figures = kept.ask("GET", "/metrics").body.decode()  # those who are in are served
        assert metric(figures, "dsx_http_connections") == FEW
        assert metric(figures, "dsx_http_connections_refused_total") >= 3
        assert len(refusals(narrow)) == 1  # in ten seconds
    assert eventually(lambda: narrow.get("/health").status_code == 200)


def test_h2_the_limit_of_open_files_is_raised_at_the_start(tmp_path: Path) -> None:
    serve = f"ulimit -Sn 128; exec {shlex.quote(sys.executable)} -m dsx serve"
    port = free_port()
    with started(["sh", "-c", serve], tmp_path, port, DSX_PORT=str(port)) as hub:
        soft, hard = resource.prlimit(hub.process.pid, resource.RLIMIT_NOFILE)
    assert soft == hard > 128


def test_h2_fewer_files_are_fewer_connections(tmp_path: Path) -> None:
    serve = f"ulimit -n 100; exec {shlex.quote(sys.executable)} -m dsx serve"
    port = free_port()
    with started(["sh", "-c", serve], tmp_path, port, DSX_PORT=str(port)) as hub:
        with ExitStack() as sockets, wire(hub) as kept:
            for _ in range(90):
                connect(hub, sockets)
            assert kept.ask("GET", "/api/v1/files").status == 200
            figures = kept.ask("GET", "/metrics").body.decode()
            assert 25 < metric(figures, "dsx_http_connections") <= 31  # some are just being told
        assert "fewer connections than DSX_MAX_CONNECTIONS" not in hub.log.read_text()


def test_h2_without_a_descriptor_left_there_is_no_storm(narrow: RunningHub) -> None:
    """A core at 100 %, and 4 MB of log a second."""
    open_files = len(list(Path(f"/proc/{narrow.process.pid}/fd").iterdir()))
    with wire(narrow) as kept, ExitStack() as sockets:
        assert kept.ask("GET", "/health").status == 200
        before = resource.prlimit(narrow.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(narrow.process.pid, resource.RLIMIT_NOFILE, (open_files + 2, before[1]))
        try:
            for _ in range(FEW):
                connect(narrow, sockets)
            size, busy = narrow.log.stat().st_size, cpu_seconds(narrow)
            seconds = 4.0
            time.sleep(seconds)
            busy = cpu_seconds(narrow) - busy
            assert narrow.log.stat().st_size - size < 1024 * seconds
            assert busy < 0.3 * seconds, busy  # the drill is strict, and has the machine to itself
            assert kept.ask("GET", "/health").status == 200
        finally:
            resource.prlimit(narrow.process.pid, resource.RLIMIT_NOFILE, before)
    assert eventually(lambda: narrow.get("/health").status_code == 200)
