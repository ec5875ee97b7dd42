"""Other upload servers on a free port: the reference tus server, and copyparty."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.node import node, node_modules

TUS = Path(__file__).resolve().parents[1] / "tests" / "tus"


@contextmanager
def tus_server(directory: Path) -> Iterator[str]:
    """The creation URL of ``@tus/server`` with its file store in *directory*."""
    node_modules(TUS)
    directory.mkdir(parents=True)
    command = [node(), "server.mjs", str(directory), "86400"]
    with (
        (directory.parent / "tus.log").open("w") as log,
        subprocess.Popen(
            command, cwd=TUS, stdout=subprocess.PIPE, stderr=log, text=True
        ) as process,
    ):
        assert process.stdout is not None
        try:
            yield process.stdout.readline().removeprefix("ready: ").strip()
        finally:
            process.terminate()


@contextmanager
def copyparty(directory: Path) -> Iterator[str]:
    """The URL of copyparty's writable volume in *directory*, indexing and deduplicating."""
    directory.mkdir(parents=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        *(sys.executable, "-m", "copyparty", "-q", "-i", "127.0.0.1", "-p", str(port)),
        *("-e2d", "-v", f"{directory}::rwmd"),
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            _wait_for(port)
            yield f"http://127.0.0.1:{port}/"
        finally:
            process.terminate()


def _wait_for(port: int) -> None:
    for _ in range(300):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError("copyparty does not answer")
