"""M13: files whose names look like numbers or ids: what a reference means, in every command."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from tests.support.commands import Commands, lines
from tests.support.hub import RunningHub, clean_environment

from dsx import DatasetHubClient
from dsx.client import errors


@pytest.fixture
def client(hub: RunningHub) -> DatasetHubClient:
    return DatasetHubClient(hub.url, hub.key, None)


@pytest.fixture
def twins(client: DatasetHubClient) -> tuple[str, str, str]:
    """A number that is also the name of another file; the names of both: by number, by name."""
    first = client.upload(b"by number", f"refs-{uuid.uuid4().hex}")
    client.upload(b"by name", str(first.number))
    return str(first.number), first.name, str(first.number)


def live(client: DatasetHubClient, name: str) -> bool:
    return any(info.name == name for info in client.list_files(name))


def test_m13_delete_asks_which_is_meant(
    dsx: Commands, client: DatasetHubClient, twins: tuple[str, str, str]
) -> None:
    ref, by_number, by_name = twins
    told = dsx("delete", ref, code=2).stderr.decode()
    assert "--name" in told
    assert "--number" in told
    assert by_number in told
    assert live(client, by_number)
    assert live(client, by_name)
    dsx("delete", "--number", ref)
    assert (live(client, by_number), live(client, by_name)) == (False, True)
    dsx("delete", ref)  # there is no other any more
    assert not live(client, by_name)


def test_m13_one_that_is_not_clear_keeps_the_command_from_all(
    dsx: Commands, client: DatasetHubClient, twins: tuple[str, str, str]
) -> None:
    clear = client.upload(b"x", f"refs-{uuid.uuid4().hex}")
    dsx("delete", clear.name, twins[0], code=2)
    assert live(client, clear.name)


@pytest.mark.parametrize(
    ("option", "content"), [("--name", b"by name"), ("--number", b"by number")]
)
def test_m13_every_command_that_takes_a_file_has_both(
    dsx: Commands, twins: tuple[str, str, str], option: str, content: bytes
) -> None:
    ref = twins[0]
    dsx("download", ref, "-o", "-", code=2)
    assert dsx("download", option, ref, "-o", "-").stdout == content
    dsx("share", ref, "--days", "1", code=2)
    (shared,) = lines(dsx("share", option, ref, "--days", "1", "--json"))
    assert shared["kind"] == "link"
    dsx("download", "--name", "--number", ref, code=2)


def test_m13_a_terminal_is_asked(
    hub: RunningHub, dsx: Commands, twins: tuple[str, str, str], tmp_path: Path
) -> None:
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "dsx", "download", twins[0], "-o", "got"],
        env=clean_environment(SERVER_URL=hub.url, DSX_API_KEY=hub.key, HOME=str(tmp_path)),
        cwd=tmp_path,
        stdin=follower,
        stdout=subprocess.DEVNULL,
        stderr=follower,
    )
    os.close(follower)
    asked = b""
    while not asked.rstrip().endswith(b":"):
        asked += os.read(leader, 1000)
    os.write(leader, b"name\n")
    assert process.wait(30) == 0
    os.close(leader)
    assert (tmp_path / "got").read_bytes() == b"by name"
    assert twins[1].encode() in asked.replace(b"\r\n", b"")


def test_m13_leading_zeros_are_no_number(
    dsx: Commands, hub: RunningHub, client: DatasetHubClient
) -> None:
    info = client.upload(b"x", f"refs-{uuid.uuid4().hex}")
    padded = f"000{info.number}"
    dsx("download", padded, "-o", "-", code=3)
    dsx("download", "--number", padded, "-o", "-", code=3)
    assert hub.get(f"/api/v1/files/{padded}").status_code == 404
    with pytest.raises(errors.NotFound):
        client.get_info(padded)
    client.upload(b"padded", padded)
    assert dsx("download", padded, "-o", "-").stdout == b"padded"
    assert client.download_bytes(padded) == b"padded"
    client.delete(info)
    dsx("trash", "restore", padded, code=3)
    dsx("trash", "purge", padded, code=3)


def test_m13_in_the_sdk_a_string_is_a_name_first(
    client: DatasetHubClient, twins: tuple[str, str, str]
) -> None:
    ref, by_number, by_name = twins
    assert client.get_info(ref).name == by_name
    assert client.get_info(int(ref)).name == by_number
    assert client.get_by_id(ref).name == by_number
    client.delete(ref)
    assert live(client, by_number)
    assert client.get_info(ref).name == by_number


def test_m13_a_name_that_looks_like_an_id(dsx: Commands, client: DatasetHubClient) -> None:
    other = client.upload(b"by id", f"refs-{uuid.uuid4().hex}")
    client.upload(b"by name", other.id)
    assert client.download_bytes(other.id) == b"by name"
    assert client.download_bytes(client.get_by_id(other.id)) == b"by id"
    dsx("download", other.id, "-o", "-", code=2)
    assert dsx("download", "--number", other.id, "-o", "-").stdout == b"by id"
    fresh = str(uuid.uuid4())
    client.upload(b"only a name", fresh)
    assert client.download_bytes(fresh) == b"only a name"
    assert dsx("download", fresh, "-o", "-").stdout == b"only a name"
