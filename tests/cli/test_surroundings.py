"""Commands in unusual surroundings: Kubernetes, no home, a list of processes, a log."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.support.commands import Commands, lines
from tests.support.hub import KEY, RunningHub, clean_environment, running_hub
from tests.support.shell import sh
from tests.support.waiting import eventually

SERVICE = "tcp://10.0.0.1:8000"


def test_variables_of_kubernetes_services_are_ignored(tmp_path: Path) -> None:
    """A service named dsx gives every container of its namespace DSX_PORT, and more like it."""
    with running_hub(tmp_path, DSX_PORT=SERVICE, DSX_HOST=SERVICE, DSX_PORT_8000_TCP=SERVICE):
        pass
    told = (tmp_path / "server.log").read_text()
    assert "DSX_PORT is set by Kubernetes for a service and ignored" in told
    assert "DSX_HOST is set by Kubernetes for a service and ignored" in told
    run = Commands(tmp_path, {"DSX_PORT": SERVICE})
    rows = {row["setting"]: row for row in lines(run("config", "--json"))}
    assert (rows["DSX_PORT"]["value"], rows["DSX_PORT"]["origin"]) == ("8000", "default")
    refused = Commands(tmp_path, {"DSX_PORT": "eighty"})("serve", code=2)
    assert b"DSX_PORT: " in refused.stderr


def test_a_dataset_path_that_is_none_is_refused(tmp_path: Path) -> None:
    """As a flag, as a variable; in one line."""
    run = Commands(tmp_path, {"DSX_API_KEY": "k", "DSX_PORT": "0"})
    expected = b"dsx: DSX_DATASET_PATH: /nonexistent/sets is not a directory\n"
    assert run("serve", "--dataset-path", "/nonexistent/sets", code=2).stderr == expected
    assert run("serve", code=2, DSX_DATASET_PATH="/nonexistent/sets").stderr == expected


def test_without_a_home_nothing_is_made(hub: RunningHub, tmp_path: Path) -> None:
    home = tmp_path / "gone" / "home"
    (tmp_path / "big").write_bytes(os.urandom(33 * 1024 * 1024))  # as large as is sent in parts
    variables = {"HOME": str(home), "XDG_STATE_HOME": "", "SERVER_URL": hub.url, "DSX_API_KEY": KEY}
    run = Commands(tmp_path, variables)
    done = run("upload", "big", "--name", "surroundings.big")
    assert b"HOME is not a directory" in done.stderr
    refused = run("login", "--server", hub.url, "nobody", stdin=b"wrong\n", code=4)
    assert b"Traceback" not in refused.stderr
    assert not (tmp_path / "gone").exists()
    rows = {row["setting"]: row for row in lines(run("config", "--json"))}
    assert rows["state"]["value"] is None
    assert "HOME is not a directory" in rows["state"]["origin"]
    kept = tmp_path / "kept"
    run("upload", "big", "--name", "surroundings.big", XDG_STATE_HOME=str(kept))
    rows = {row["setting"]: row for row in lines(run("config", "--json", XDG_STATE_HOME=str(kept)))}
    assert rows["state"]["value"] == str(kept / "dsx")


def test_a_key_in_a_file_does_not_show(hub: RunningHub, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{KEY}\n")
    run = Commands(tmp_path, {"SERVER_URL": hub.url})
    assert b"admin" in run("--api-key-file", "key", "whoami").stdout
    assert b"admin" in run("whoami", "--api-key-file", "key").stdout
    assert b"visible in the process list" in b" ".join(run("--help").stdout.split())
    (tmp_path / "empty").write_text("\n")
    assert b"empty is empty" in run("--api-key-file", "empty", "whoami", code=2).stderr
    assert b"none" in run("--api-key-file", "none", "whoami", code=3).stderr


def test_the_admin_key_is_shown_once_and_on_a_terminal_alone(tmp_path: Path) -> None:
    key_file = tmp_path / "data" / "admin.key"
    with running_hub(tmp_path, DSX_API_KEY="") as hub:
        assert key_file.read_text().strip() not in hub.log.read_text()
        assert str(key_file) in hub.log.read_text()
    key_file.unlink()
    assert shown(tmp_path).count(key_file.read_text().strip()) == 1
    assert key_file.read_text().strip() not in shown(tmp_path)


def test_the_first_command_works_as_pasted(tmp_path: Path) -> None:
    said: list[str] = []

    def pasted(seen: str) -> None:
        (command,) = re.findall(r"try it in another terminal: (.*?)\r?\n", seen)
        told = sh(command, tmp_path, HOME=str(tmp_path))
        said.append(told)

    shown(tmp_path, pasted)
    assert "version 1" in said[0]


def shown(directory: Path, do: Callable[[str], object] = str) -> str:
    """What `dsx serve` writes to a terminal until it is ready; then *do* something with that."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "dsx", "serve"],
        env=clean_environment(DSX_DATA_DIR=str(directory / "data"), DSX_PORT="0"),
        stdout=theirs,
        stderr=theirs,
        cwd=directory,
    )
    os.close(theirs)
    seen = b""

    def ready() -> bool:
        nonlocal seen
        seen += os.read(ours, 4096)
        return re.search(rb"ready: .*\n(.*\n)*try it .*\n", seen) is not None

    try:
        eventually(ready, 60)
        do(seen.decode())
    finally:
        process.terminate()
        process.wait()
        os.close(ours)
    return seen.decode()
