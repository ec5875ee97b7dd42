"""A hub started by any command, not only `dsx serve`."""

from __future__ import annotations

import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import requests
from tests.support.hub import KEY, STOP_SECONDS, RunningHub, clean_environment
from tests.support.waiting import in_time


def free_port() -> int:
    """A port that nobody listens on at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def answers(url: str) -> bool:
    """Whether a hub answers there."""
    try:
        return requests.get(f"{url}/ready", timeout=5).status_code == 200
    except requests.ConnectionError:
        return False


@contextmanager
def started(
    command: Sequence[str | Path], directory: Path, port: int, **variables: str
) -> Iterator[RunningHub]:
    """*command* in *directory*, from when it listens on *port*; ended by SIGINT, as Ctrl+C does."""
    url = f"http://127.0.0.1:{port}"
    settings = {
        "DSX_API_KEY": KEY,
        "DSX_DATA_DIR": str(directory / "data"),
        "DSX_RESERVE": "64KiB",
    } | variables
    log = directory / "server.log"
    with log.open("a") as output:
        process = subprocess.Popen(
            command,
            env=clean_environment(HOME=str(directory), **settings),
            cwd=directory,
            stdout=output,
            stderr=output,
            text=True,
        )
    data_dir = Path(settings["DSX_DATA_DIR"])
    try:
        in_time(lambda: process.poll() is not None or answers(url), 30)
        assert process.poll() is None, log.read_text()
        yield RunningHub(url, settings["DSX_API_KEY"], data_dir, directory, process, log)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
