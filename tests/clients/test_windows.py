"""The SDK and `dsx` on Windows, as far as Wine is one; the hub is on this system."""

from __future__ import annotations

import contextlib
import json
import random
import shlex
import sqlite3
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from tests.client.test_upload_resume import received
from tests.support.commands import Commands, ended, lines
from tests.support.corrupting import Faults, Proxy
from tests.support.digests import sha256
from tests.support.hub import PASSWORD, RunningHub, clean_environment
from tests.support.waiting import eventually
from tests.support.windows import ROOT, Windows, path_there, windows

pytestmark = pytest.mark.timeout(400)
MIB = 1 << 20
SIZE = 40 * MIB


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Windows]:
    packages = ("pytest", "pytest-timeout", "hypothesis")
    with windows(tmp_path_factory.mktemp("windows"), *packages) as running:
        yield running


@pytest.fixture
def dsx(hub: RunningHub, system: Windows, tmp_path: Path) -> Commands:
    """Runs `dsx` on Windows against the hub."""
    variables = {
        "SERVER_URL": hub.url,
        "DSX_API_KEY": hub.key,
        "XDG_STATE_HOME": path_there(tmp_path / ".state"),
        "DSX_CONFIG": path_there(tmp_path / "config.toml"),
    }
    return Commands(tmp_path, system.variables | variables, system.python)


@pytest.fixture
def through(dsx: Commands, proxy: Proxy) -> Commands:
    """The same, through the proxy."""
    return replace(dsx, variables=dsx.variables | {"SERVER_URL": proxy.url})


def test_what_ci_runs_on_windows(system: Windows) -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    step = workflow["jobs"]["client"]["steps"][-1]["run"]
    command = shlex.split(step.removeprefix("python "))
    done = subprocess.run(
        [*system.python, *command, "-q", "-p", "no:cacheprovider"],
        cwd=ROOT,
        env=clean_environment(**system.variables),
        input=b"",
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout.decode()
    assert b"passed" in done.stdout


def test_files_there_and_back(dsx: Commands, tmp_path: Path) -> None:
    name = "wïndöws 日本.bin"
    data = b"\r\n\x1a\n" + random.Random(1).randbytes(100_000)  # what text files would change
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / name).write_bytes(data)
    dsx("upload", f"in\\{name}", "in\\*.bin", code=2)  # one name for two
    (info,) = lines(dsx("upload", "in\\*.bin", "--category", "windows", "--json"))
    assert (info["name"], info["sha256"]) == (name, sha256(data))
    assert dsx("list", "--category", "windows").stdout.decode().splitlines() == [name]
    (tmp_path / "out").mkdir()
    dsx("download", name, "-o", "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == [name]
    assert (tmp_path / "out" / name).read_bytes() == data
    assert dsx("download", name, "-o", "-").stdout == data
    dsx("-d", name)
    assert dsx("list", "--category", "windows").stdout == b""


def test_directories_have_slashes(dsx: Commands, tmp_path: Path) -> None:
    (tmp_path / "tree" / "deep").mkdir(parents=True)
    for number in range(3):
        (tmp_path / "tree" / "deep" / f"{number}.txt").write_bytes(bytes([number]))
    stored = lines(dsx("upload", "-r", "tree", "--json", "--category", "slashes"))
    assert {info["name"] for info in stored} == {f"tree/deep/{number}.txt" for number in range(3)}


def test_a_name_that_would_be_another_file(hub: RunningHub, dsx: Commands, tmp_path: Path) -> None:
    """One that was stored before such names were refused."""
    record = hub.store("stream-of", b"x")
    with contextlib.closing(sqlite3.connect(hub.data_dir / "catalog.db")) as catalog, catalog:
        catalog.execute("UPDATE files SET name = 'stream:of' WHERE id = ?", (record["id"],))
    assert b"'stream:of'" in dsx("download", record["id"], code=2).stderr
    assert list(tmp_path.iterdir()) == []
    dsx("download", record["id"], "-o", "mine.bin")
    assert (tmp_path / "mine.bin").read_bytes() == b"x"


def test_signing_in(hub: RunningHub, dsx: Commands, tmp_path: Path) -> None:
    hub.user("windows-user")
    mine = replace(dsx, variables=dsx.variables | {"SERVER_URL": "", "DSX_API_KEY": ""})
    mine("login", "--server", hub.url, "windows-user", stdin=f"{PASSWORD}\r\n".encode())
    assert b"windows-user" in mine("whoami").stdout
    mine("logout")
    mine("whoami", "--server", hub.url, code=4)


def test_the_hub_itself_does_not_run_there(dsx: Commands) -> None:
    assert b"runs on Linux" in dsx("serve", code=2).stderr


def test_uploads_go_on_after_a_kill(
    hub: RunningHub, dsx: Commands, through: Commands, proxy: Proxy, tmp_path: Path
) -> None:
    data = random.Random(2).randbytes(SIZE)
    (tmp_path / "windows-large.bin").write_bytes(data)
    proxy.faults = faults = Faults(hang_after=25 * MIB)
    process = through.start("upload", "windows-large.bin")
    eventually(lambda: faults.fired, 60)
    process.kill()
    process.communicate(timeout=20)
    proxy.faults = Faults()
    faults.resume()
    (state,) = (tmp_path / ".state").rglob("*.json")
    id_ = json.loads(state.read_bytes())["upload"]
    eventually(lambda: received(hub, id_) > 10 * MIB)
    (info,) = lines(through("upload", "windows-large.bin", "--json"))
    assert (info["sha256"], info["version"]) == (sha256(data), 1)
    assert sum(length for _, length in proxy.faults.parts()) <= SIZE - 10 * MIB
    assert [path for path in (tmp_path / ".state").rglob("*") if path.is_file()] == []


def test_downloads_go_on_after_a_kill(
    hub: RunningHub, through: Commands, proxy: Proxy, tmp_path: Path
) -> None:
    data = random.Random(3).randbytes(SIZE)
    hub.store("windows-down.bin", data)
    proxy.faults = faults = Faults(hang_after_replies=25 * MIB)
    process = through.start("download", "windows-down.bin")
    eventually(lambda: faults.fired, 60)
    eventually(lambda: [one for one in tmp_path.glob(".*.part") if one.stat().st_size > 10 * MIB])
    process.kill()
    process.communicate(timeout=20)
    proxy.faults = again = Faults()
    faults.resume()
    through("download", "windows-down.bin")
    assert (tmp_path / "windows-down.bin").read_bytes() == data
    assert list(tmp_path.glob(".*.part")) == []
    assert again.replied < SIZE - 9 * MIB


def test_one_command_at_a_time_has_an_upload(
    dsx: Commands, through: Commands, proxy: Proxy, tmp_path: Path
) -> None:
    """The second one leaves the first one's upload alone, and sends the file itself."""
    data = random.Random(4).randbytes(SIZE)
    (tmp_path / "windows-twice.bin").write_bytes(data)
    proxy.faults = faults = Faults(hang_after=20 * MIB)
    first = through.start("upload", "windows-twice.bin", "--json")
    eventually(lambda: faults.fired, 60)
    (info,) = lines(dsx("upload", "windows-twice.bin", "--json"))
    faults.resume()
    (late,) = lines(ended(first))
    assert (info["version"], late["version"]) == (1, 2)
    assert info["sha256"] == late["sha256"] == sha256(data)
