"""A real hub: `dsx serve` in a process of its own, on a free port, with its own data directory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import requests

KEY = "test-key"
PASSWORD = "correct horse"
STOP_SECONDS = 10


@dataclass
class RunningHub:
    """A started server and what is needed to talk to it."""

    url: str
    key: str
    data_dir: Path
    dataset_path: Path
    process: subprocess.Popen[str]
    log: Path

    def request(self, method: str, path: str, **kwargs: Any) -> requests.Response:
        """One authenticated request on a fresh connection."""
        headers = {"Authorization": f"Bearer {self.key}"} | kwargs.pop("headers", {})
        kwargs.setdefault("timeout", 60)
        return requests.request(method, self.url + path, headers=headers, **kwargs)

    def get(self, path: str, **kwargs: Any) -> requests.Response:
        return self.request("GET", path, **kwargs)

    def post(self, path: str, **kwargs: Any) -> requests.Response:
        return self.request("POST", path, **kwargs)

    def delete(self, path: str, **kwargs: Any) -> requests.Response:
        return self.request("DELETE", path, **kwargs)

    def store(self, name: str, data: bytes, **params: Any) -> dict[str, Any]:
        """Upload and return the file's record."""
        answer = self.post("/api/v1/files", params={"name": name} | params, data=data)
        assert answer.status_code == 201, answer.text
        record: dict[str, Any] = answer.json()
        return record

    def user(self, name: str, role: str = "member", **token: Any) -> RunningHub:
        """The same hub as a new user sees it, with a token: all scopes, unless *token* says less.

        The user's password is `PASSWORD`.
        """
        who = {"username": name, "password": PASSWORD, "role": role}
        made = self.post("/api/v1/users", json=who)
        assert made.status_code == 201, made.text
        return self.seen_by(name, **token)

    def seen_by(self, name: str, **token: Any) -> RunningHub:
        """The same hub as a user sees it who shows another token."""
        who = (name, PASSWORD)
        me = requests.get(f"{self.url}/api/v1/account", auth=who, timeout=60).json()
        wanted = {"scopes": me["scopes"]} | token
        answer = requests.post(f"{self.url}/api/v1/tokens", json=wanted, auth=who, timeout=60)
        assert answer.status_code == 201, answer.text
        return replace(self, key=answer.json()["token"])

    def stop(self) -> int:
        """SIGTERM; the exit code, which must come within the promised time."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self._reap()

    def kill(self) -> None:
        """SIGKILL: the crash."""
        self.process.kill()
        self._reap()

    def _reap(self) -> int:
        code = self.process.wait(STOP_SECONDS)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return code


def clean_environment(**variables: str) -> dict[str, str]:
    """This process's environment without the settings of any hub, plus *variables*."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("DSX_") and name not in {"AUTH_TOKEN", "SERVER_URL"}
    }
    return inherited | {"PYTHONUNBUFFERED": "1"} | variables


def start_hub(directory: Path, **variables: str) -> RunningHub:
    """Start `dsx serve`, all its files in *directory*; returns when it is ready."""
    data_dir, datasets = directory / "data", directory / "datasets"
    datasets.mkdir(parents=True, exist_ok=True)
    settings = {
        "DSX_PORT": "0",
        "DSX_DATA_DIR": str(data_dir),
        "DSX_DATASET_PATH": str(datasets),
        "DSX_API_KEY": KEY,
        "DSX_RESERVE": "64KiB",  # there are many hubs, and their files are kept for a while
    } | variables
    log = directory / "server.log"
    with log.open("a") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "dsx", "serve"],
            env=clean_environment(**settings),
            cwd=directory,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("ready: http://"), (line, log.read_text())
    url = line.removeprefix("ready:").strip()
    return RunningHub(url, settings["DSX_API_KEY"], data_dir, datasets, process, log)


@contextmanager
def running_hub(directory: Path, **variables: str) -> Iterator[RunningHub]:
    """A hub for the length of a block."""
    hub = start_hub(directory, **variables)
    try:
        yield hub
    finally:
        hub.stop()
