"""Streams that are closed, or cannot write what a name is made of."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from tests.support.commands import Commands
from tests.support.hub import RunningHub, clean_environment

from dsx import DatasetHubClient

ODD = "na\u00efve-\u6f22\u5b57-\U0001f600"


@pytest.fixture
def odd(hub: RunningHub) -> str:
    name = f"{ODD}-{uuid.uuid4().hex}"
    DatasetHubClient(hub.url, hub.key, None).upload(b"content", name)
    return name


def shell(hub: RunningHub, directory: Path, command: str) -> subprocess.CompletedProcess[bytes]:
    """Run `dsx` by a line of shell, in which it is called `$DSX`."""
    variables = {"SERVER_URL": hub.url, "DSX_API_KEY": hub.key, "HOME": str(directory)}
    return subprocess.run(
        ["/bin/sh", "-c", command],
        env=clean_environment(DSX=f"{sys.executable} -m dsx", **variables),
        cwd=directory,
        capture_output=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    "command",
    [
        "list --limit 1 >&-",
        "list --limit 1 --json >&-",
        "list --limit 1 2>&-",
        "list --limit 1 >&- 2>&- <&-",
        "upload f >&-",
        "upload f --always <&- >&- 2>&-",
    ],
)
def test_closed_streams_are_no_failure(
    hub: RunningHub, odd: str, tmp_path: Path, command: str
) -> None:
    (tmp_path / "f").write_bytes(b"x")
    done = shell(hub, tmp_path, f"$DSX {command}")
    assert (done.returncode, done.stderr) == (0, b"")


def test_closed_streams_are_told_where_they_matter(
    hub: RunningHub, odd: str, tmp_path: Path
) -> None:
    done = shell(hub, tmp_path, f"$DSX download '{odd}' -o - >&-")
    assert done.returncode == 2
    assert b"Standard output is closed" in done.stderr
    done = shell(hub, tmp_path, "$DSX download no-such-file 2>&-")
    assert done.returncode == 3
    done = shell(hub, tmp_path, f"$DSX download '{odd}' -o copy <&- >&- 2>&-")
    assert done.returncode == 0
    assert (tmp_path / "copy").read_bytes() == b"content"


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-8"])
def test_output_that_lacks_letters(dsx: Commands, odd: str, encoding: str) -> None:
    """What it lacks is escaped; JSON stays JSON, and has the name."""
    text = dsx("list", odd, PYTHONIOENCODING=encoding).stdout.decode(encoding)
    assert text.strip() == odd.encode(encoding, "backslashreplace").decode(encoding)
    found = dsx("list", odd, "--json", PYTHONIOENCODING=encoding).stdout.decode(encoding)
    assert json.loads(found)["name"] == odd
    done = dsx("download", f"{odd}-none", code=3, PYTHONIOENCODING=encoding)
    assert odd.encode(encoding, "backslashreplace") in done.stderr
