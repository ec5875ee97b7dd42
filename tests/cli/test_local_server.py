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
    assert b"DSX_PORT is no number of a port" in done.stderr
    assert done.stderr.count(b"it is not used") == 1
