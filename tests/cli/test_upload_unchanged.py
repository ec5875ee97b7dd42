"""M18: what is stored already as it is makes no version and is not sent."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import pytest
from tests.support.bitrot import blob_of, flip, scrubbed
from tests.support.commands import Commands, lines
from tests.support.corrupting import Faults, Proxy
from tests.support.hub import RunningHub

from dsx import DatasetHubClient

LARGE = 33 << 20


@pytest.fixture
def client(hub: RunningHub) -> DatasetHubClient:
    return DatasetHubClient(hub.url, hub.key, None)


@pytest.fixture
def top(tmp_path: Path) -> Path:
    path = tmp_path / f"top-{uuid.uuid4().hex}"
    path.mkdir()
    return path


def versions(client: DatasetHubClient, top: Path) -> dict[str, int]:
    return {
        info.name.removeprefix(f"{top.name}/"): info.version
        for info in client.list_files(f"{top.name}/**")
    }


def bodies(proxy: Proxy) -> list[str]:
    """Requests that sent contents."""
    sending = ("POST /api/v1/files?", "POST /api/v1/uploads", "PUT ")
    return [line for line, _ in proxy.faults.asked if line.startswith(sending)]


def test_m18_a_second_upload_of_a_directory_sends_nothing(
    through: Commands, proxy: Proxy, client: DatasetHubClient, top: Path
) -> None:
    for number in range(600):  # more than are looked up at once
        (top / f"{number:03}").write_bytes(f"{number}".encode())
    (top / "large").write_bytes(os.urandom(LARGE))
    done = through("upload", "-r", top.name)
    assert b"601 files: 601 stored, 0 unchanged, 0 failed" in done.stderr
    proxy.faults = Faults()
    done = through("upload", "-r", top.name, "--json")
    assert bodies(proxy) == []
    assert len(proxy.faults.asked) == 3  # two look-ups of small files, one of the large one
    assert {line["unchanged"] for line in lines(done)} == {True}
    assert set(versions(client, top).values()) == {1}

    (top / "large").write_bytes(os.urandom(LARGE))
    (top / "000").write_bytes(b"x")  # another of the same size
    (top / "new").write_bytes(b"new")
    (top / "001").unlink()
    (top / "bad").symlink_to("nowhere")
    proxy.faults = Faults()
    done = through("upload", "-r", top.name, code=3)
    assert b"602 files: 3 stored, 598 unchanged, 1 failed" in done.stderr
    changed = {name for name, version in versions(client, top).items() if version > 1}
    assert changed == {"large", "000"}
    assert done.stdout.count(b"  unchanged\n") == 598


def test_m18_times_do_not_matter_but_bytes_do(
    dsx: Commands, client: DatasetHubClient, top: Path
) -> None:
    """A digest that is remembered is of that file on the disk, not of one that took its place."""
    path = top / "a"
    path.write_bytes(b"one")
    os.utime(path, (1, 1))
    dsx("upload", "-r", top.name)
    os.utime(path, (2, 2))
    dsx("upload", "-r", top.name)
    assert versions(client, top) == {"a": 1}
    replacement = top.parent / "b"
    replacement.write_bytes(b"two")
    os.utime(replacement, (2, 2))
    replacement.replace(path)  # same size and time, as after `cp -p`
    dsx("upload", "-r", top.name)
    assert versions(client, top) == {"a": 2}
    assert client.download_bytes(f"{top.name}/a") == b"two"


@pytest.mark.parametrize("cache", ["none", "broken"])
def test_m18_without_its_cache_it_reads_the_files(
    dsx: Commands, client: DatasetHubClient, top: Path, cache: str
) -> None:
    (top / "a").write_bytes(b"one")
    place = top.parent / ".cache"
    if cache == "none":
        place.write_bytes(b"no directory")
    else:
        (place / "dsx").mkdir(parents=True)
        (place / "dsx" / "digests.db").write_bytes(b"no database" * 1000)
    for _ in range(2):
        assert dsx("upload", "-r", top.name).returncode == 0
    assert versions(client, top) == {"a": 1}


def test_m18_single_files_and_standard_input(
    dsx: Commands, client: DatasetHubClient, top: Path
) -> None:
    (top / "a").write_bytes(b"one")
    for _ in range(2):
        dsx("upload", f"{top.name}/a", "--name", f"{top.name}/a")
        done = dsx("upload", "-", "--name", f"{top.name}/b", stdin=b"piped")
    assert done.stdout.endswith(b"  unchanged\n")
    assert versions(client, top) == {"a": 1, "b": 1}
    dsx("upload", "-", "--name", f"{top.name}/b", "--always", stdin=b"piped")
    assert versions(client, top) == {"a": 1, "b": 2}


def test_m18_what_is_given_beside_the_bytes_counts(
    dsx: Commands, client: DatasetHubClient, top: Path
) -> None:
    (top / "a").write_bytes(b"one")
    given = ["--category", "c", "--tag", "x", "--tag", "y", "--meta", "k=1"]
    dsx("upload", "-r", top.name, *given)
    dsx("upload", "-r", top.name, *given)
    dsx("upload", "-r", top.name)  # says nothing else
    assert versions(client, top) == {"a": 1}
    for number, other in enumerate((["--category", "d"], ["--tag", "z"], ["--meta", "k=2"])):
        dsx("upload", "-r", top.name, *other)
        assert versions(client, top) == {"a": number + 2}


def test_m18_in_the_sdk_it_is_an_option(client: DatasetHubClient, top: Path) -> None:
    path, name = top / "a", f"{top.name}/a"
    path.write_bytes(b"one")
    first = client.upload(path, name)
    assert client.upload(path, name, if_changed=True) == first
    assert client.upload(b"one", name, if_changed=True) == first
    known = client.find_many([name, f"{name}-none", "no/../name", "\udcff"])
    assert known == {name: first}
    assert client.upload(path, name, if_changed=known) == first
    assert client.upload(path, name).version == 2
    path.write_bytes(b"two")
    assert client.upload(path, name, if_changed=known).version == 3


def test_m18_the_server_decides_where_several_race(hub: RunningHub, top: Path) -> None:
    """The REST API makes a version of whatever comes, unless it is told not to."""
    where = {"name": top.name}
    first = hub.post("/api/v1/files", params=where, data=b"x")
    same = hub.post("/api/v1/files", params=where | {"if_changed": "true"}, data=b"x")
    assert (first.status_code, same.status_code) == (201, 200)
    assert same.json() == first.json()
    typed = {"Content-Type": "text/x-other"}
    other = hub.post("/api/v1/files", params=where | {"if_changed": "1"}, data=b"x", headers=typed)
    assert (other.status_code, other.json()["version"]) == (201, 2)
    plain = hub.post("/api/v1/files", params=where, data=b"x")
    assert (plain.status_code, plain.json()["version"]) == (201, 3)
    found = hub.post("/api/v1/files/lookup", json={"names": [top.name]}).json()["items"]
    assert [item["id"] for item in found] == [plain.json()["id"]]
    assert hub.post("/api/v1/files/lookup", json={"names": ["x"] * 1001}).status_code == 422


def test_m18_a_key_that_may_only_write(hub: RunningHub, dsx: Commands, top: Path) -> None:
    writer = hub.user(f"u{uuid.uuid4().hex[:8]}", scopes=["write"])
    (top / "a").write_bytes(b"one")
    (top / "b").write_bytes(b"two")
    for _ in range(2):
        dsx("upload", "-r", top.name, DSX_API_KEY=writer.key)


def test_m18_what_is_damaged_is_stored_again(
    hub: RunningHub, dsx: Commands, client: DatasetHubClient, top: Path
) -> None:
    """The hub wants the right bytes again (H4), so it must not be told that it has them."""
    (top / "a").write_bytes(os.urandom(1000))
    dsx("upload", "-r", top.name)
    info = client.get_info(f"{top.name}/a")
    flip(blob_of(hub, info.model_dump()))
    scrubbed(hub)
    dsx("upload", "-r", top.name)
    assert client.download_bytes(f"{top.name}/a") == (top / "a").read_bytes()
    dsx("upload", f"{top.name}/a", "--name", f"{top.name}/a")
    assert versions(client, top) == {"a": 2}
