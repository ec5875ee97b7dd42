"""A user of one hub at a shell, as the seeds' READMEs have it: `curl -u $U … $B/…`."""

from __future__ import annotations

import json
import subprocess
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from tests.support import shell
from tests.support.hub import RunningHub, clean_environment
from tests.support.waiting import eventually

PASSWORD = "correct-horse"

ROUTES = (
    "-X PUT -F file=@a.bin $B/upload_file/$ID",
    "-X POST $B/pause_task/$ID",
    "-X POST $B/resume_task/$ID",
    "-X POST $B/abort_task/$ID",
    "$B/download_file/$ID",
    "-X DELETE $B/delete_file/$ID",
    "$B/task/$ID",
)
"""Datastore's routes of one task, as arguments of curl."""


@dataclass(frozen=True)
class User:
    """Runs commands in *directory*; they find the hub in ``$B`` and the credentials in ``$U``."""

    hub: RunningHub
    credentials: str
    directory: Path

    def _variables(self, given: dict[str, str]) -> dict[str, str]:
        return {"B": self.hub.url, "U": self.credentials, "HOME": str(self.directory)} | given

    def sh(self, command: str, **variables: str) -> str:
        """What *command* prints; it has to succeed."""
        return shell.sh(command, self.directory, **self._variables(variables))

    def code(self, command: str, **variables: str) -> int:
        """The exit code of *command*."""
        return shell.run(command, self.directory, **self._variables(variables)).returncode

    def status(self, command: str, **variables: str) -> int:
        """The HTTP status that the curl *command* gets."""
        return int(self.sh(f"{command} -s -o /dev/null -w '%{{http_code}}'", **variables))

    def start(self, command: str, **variables: str) -> subprocess.Popen[str]:
        """*command*, while the test goes on."""
        return subprocess.Popen(
            ["bash", "-c", f"exec {command}"],
            cwd=self.directory,
            env=clean_environment(**self._variables(variables)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def request(self, method: str, path: str, **kwargs: Any) -> requests.Response:
        """One request as this user, for what the seed has no words for."""
        name, _, password = self.credentials.partition(":")
        return self.hub.request(method, path, auth=(name, password), **kwargs)

    def get(self, path: str, **kwargs: Any) -> requests.Response:
        return self.request("GET", path, **kwargs)

    def task(self) -> str:
        """The id of a new task."""
        return self.sh("curl -fsu $U -X POST $B/create_task | jq -er .task_id").strip()

    def state(self, id_: str) -> dict[str, Any]:
        """What a task maps to."""
        answer: dict[str, Any] = json.loads(self.sh("curl -fsu $U $B/task/$ID", ID=id_))
        return answer

    def order(self, what: str, id_: str) -> dict[str, Any]:
        """``pause``, ``resume`` or ``abort`` a task."""
        command = f"curl -fsu $U -X POST $B/{what}_task/$ID"
        answer: dict[str, Any] = json.loads(self.sh(command, ID=id_))
        return answer

    def offset(self, id_: str) -> int:
        """How many bytes of an upload are on the hub's disk; asking does not disturb its writer."""
        return int(self.sh("curl -fsu $U $B/api/v1/uploads/$ID | jq -e .offset", ID=id_))

    def file(self, name: str, data: bytes) -> Path:
        """A local file."""
        path = self.directory / name
        path.write_bytes(data)
        return path

    def upload(self, name: str, data: bytes) -> str:
        """Store *data* as *name*; the id of the task."""
        self.file(name, data)
        id_ = self.task()
        self.sh("curl -fsu $U -X PUT -F file=@$F $B/upload_file/$ID", ID=id_, F=name)
        return id_

    def uploading(self, path: Path, rate: str = "2M") -> tuple[str, subprocess.Popen[str]]:
        """A slow upload that has begun to arrive: the id of its task, and curl."""
        id_ = self.task()
        command = "curl -fsu $U --limit-rate $R -T $F $B/upload_file/$ID?filename=$N"
        process = self.start(command, ID=id_, R=rate, F=str(path), N=path.name)
        eventually(lambda: process.poll() is not None or self.state(id_)["done"] > 0)
        assert process.poll() is None, ended(process)
        return id_, process

    def names(self) -> set[str]:
        """Of all the user's files."""
        listed = self.sh("curl -fsu $U $B/api/v1/files | jq -r '.items[].name'")
        return set(listed.splitlines())


def sign_up(hub: RunningHub, directory: Path, name: str | None = None) -> User:
    """A new user, made by the hub's admin."""
    name = name or f"user-{uuid.uuid4().hex[:8]}"
    facts = {"username": name, "password": PASSWORD}
    answer = hub.post("/create_account", json=facts)
    assert answer.status_code == 201, answer.text
    return User(hub, f"{name}:{PASSWORD}", directory)


def ended(process: subprocess.Popen[str], seconds: float = 30) -> tuple[int, str]:
    """The exit code and output of a started command."""
    printed, _ = process.communicate(timeout=seconds)
    return process.returncode, printed
