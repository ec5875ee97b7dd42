"""Commands find the hub of their directory, and its key, on whatever port it listens."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.commands import Commands, lines
from tests.support.hub import RunningHub, start_hub


@pytest.fixture
def own(tmp_path: Path) -> Iterator[RunningHub]:
    """A hub that made its key itself, on a port that nobody was told of."""
    hub = start_hub(tmp_path, DSX_API_KEY="")
    yield hub
    hub.stop()


def settings(commands: Commands, *arguments: str, **variables: str) -> dict[str, tuple[str, str]]:
    done = commands("config", "--json", *arguments, **variables)
    return {row["setting"]: (row["value"], row["origin"]) for row in lines(done)}


def test_commands_find_the_server_and_its_key(own: RunningHub, tmp_path: Path) -> None:
    """Section 4: the local admin key is found only on port 8000."""
    here = Commands(tmp_path, {"DSX_DATA_DIR": "data"})
    assert here("whoami").stdout.decode().splitlines()[0] == f"admin on {own.url}"
    found = settings(here)
    assert found["server"] == (own.url, "data/server.json")
    assert found["api_key"][1] == "data/admin.key"
    assert (own.data_dir / "server.json").stat().st_mode & 0o777 == 0o600
    same = settings(here, SERVER_URL=own.url.replace("127.0.0.1", "localhost") + "/")
    assert same["api_key"][1] == "data/admin.key"
    for other in ("http://127.0.0.1:1", "https" + own.url[4:], "http://hub.example.org"):
        assert settings(here, SERVER_URL=other)["api_key"] == (None, "not set")
    (tmp_path / ".env").write_text("DSX_DATA_DIR=data\n")
    assert Commands(tmp_path, {})("list").returncode == 0
    (tmp_path / ".env").unlink()
    (tmp_path / "dsx.toml").write_text('data_dir = "~/data"\n')
    assert Commands(tmp_path, {})("list").returncode == 0


def test_a_server_that_is_gone_is_not_looked_for(own: RunningHub, tmp_path: Path) -> None:
    here = Commands(tmp_path, {"DSX_DATA_DIR": "data"})
    place = own.data_dir / "server.json"
    assert json.loads(place.read_bytes()) == {"url": own.url}
    own.kill()
    assert place.exists()
    assert settings(here)["server"] == ("http://127.0.0.1:8000", "default")
    again = start_hub(tmp_path, DSX_API_KEY="")
    try:
        assert settings(here)["server"][0] == again.url
    finally:
        assert again.stop() == 0
    assert not place.exists()


def test_commands_use_the_port_that_the_server_would(bare: Commands, tmp_path: Path) -> None:
    """Section 4: `DSX_PORT` is ignored by commands."""
    (tmp_path / "dsx-data").mkdir()
    (tmp_path / "dsx-data" / "admin.key").write_text("key\n")
    found = settings(bare, DSX_PORT="9000")
    assert found["server"] == ("http://127.0.0.1:9000", "environment (DSX_PORT)")
    assert found["api_key"][1] == "dsx-data/admin.key"
    elsewhere = settings(bare, DSX_PORT="9000", SERVER_URL="http://127.0.0.1:8000")
    assert elsewhere["api_key"] == (None, "not set")
    (tmp_path / "dsx.toml").write_text("port = 9100\n")
    assert settings(bare)["server"] == ("http://127.0.0.1:9100", "dsx.toml")


def test_a_port_that_kubernetes_made(bare: Commands) -> None:
    done = bare.run("list", DSX_PORT="tcp://10.0.0.1:8000", DSX_API_KEY="k")
    assert b"DSX_PORT is not a port number" in done.stderr
    assert done.stderr.count(b"it is ignored") == 1


def test_a_tilde_is_the_home_directory_in_commands(own: RunningHub, tmp_path: Path) -> None:
    """Where no shell has expanded it: in variables, in files, after an equals sign."""
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "work").mkdir()
    (home / "key").write_text((own.data_dir / "admin.key").read_text())
    (home / "a.bin").write_bytes(b"at home")
    (tmp_path / "work" / "~b.bin").write_bytes(b"called so")
    config = "~/config.toml"
    (home / "config.toml").write_text(f'[profiles.default]\nserver = "{own.url}"\n')
    variables = {"HOME": str(home), "DSX_CONFIG": config, "DSX_DATA_DIR": "~/../data"}
    here = Commands(tmp_path / "work", variables)
    here("upload", "~/a.bin")
    here("upload", "~/*.bin", "~b.bin")
    assert here("list", "--sort", "name").stdout.split() == [b"a.bin", b"~b.bin"]
    here("download", "a.bin", "--output=~/back.bin")
    here("download", "a.bin", "~b.bin", "--output=~/both")
    here("download", "a.bin", "--zip", "--output=~/a.zip")
    found = {path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file()}
    assert {"back.bin", "both/a.bin", "both/~b.bin", "a.zip"} <= found
    (own.dataset_path / "home-set").mkdir()
    (own.dataset_path / "home-set" / "x").write_bytes(b"x")
    assert here("fetch", "home-set", "--to=~/sets").returncode == 0
    assert (home / "sets" / "home-set" / "x").read_bytes() == b"x"
    assert not (tmp_path / "work" / "~").exists()
    (tmp_path / "work" / "dsx.toml").write_text('data_dir = "~/data"\ndataset_path = "~"\n')
    rows = settings(here, DSX_API_KEY_FILE="~/key", DSX_DATA_DIR="")
    assert rows["DSX_DATA_DIR"][0] == str(home / "data")
    assert rows["DSX_DATASET_PATH"][0] == str(home)
