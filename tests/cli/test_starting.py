"""What `dsx serve` says before it listens, of settings and places that will not do."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.another_user import USER, in_another_user
from tests.support.hub import clean_environment, running_hub

from dsx.config import Settings
from dsx.store import open_store

SERVE = [sys.executable, "-m", "dsx", "serve"]


def refused(directory: Path, **settings: str) -> str:
    """The one line with which a server refuses to start in *directory*."""
    done = subprocess.run(
        SERVE,
        cwd=directory,
        env=clean_environment(DSX_PORT="0", HOME=str(directory), **settings),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    return line


def test_a_database_of_another_kind(tmp_path: Path) -> None:
    line = refused(tmp_path, DSX_DATABASE_URL="mysql://localhost/dsx")
    assert "DSX_DATABASE_URL" in line
    assert "postgresql://" in line


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another")
@pytest.mark.parametrize("closed", ["", "catalog.db"])
def test_another_users_data_directory(
    tmp_path_factory: pytest.TempPathFactory, closed: str
) -> None:
    """As after a first try with sudo."""
    directory = tmp_path_factory.mktemp("other")
    for above in (directory, *list(directory.parents)[:-2]):  # all below /tmp
        above.chmod(0o755)
    with running_hub(directory) as hub:
        hub.store("a", b"x")
    data = directory / "data"
    for path in (data, *data.rglob("*")):
        os.chown(path, USER, USER)
    os.chown(data / closed, 0, 0)
    settings = Settings(data_dir=data)

    def start() -> None:
        async def opened() -> None:
            async with open_store(settings):
                pass

        asyncio.run(opened())

    told = in_another_user(start)
    assert f"{data / closed} is not accessible to this user ({USER}); it belongs to user 0" in told
    assert "chown" in told


def test_a_variable_that_is_no_setting_is_told(tmp_path: Path) -> None:
    kubernetes = {"DSX_PORT_8000_TCP": "tcp://10.0.0.1:8000", "DSX_SERVICE_HOST": "10.0.0.1"}
    with running_hub(tmp_path, DSX_QOUTA="1GB", DSX_CONFIG="", **kubernetes) as hub:
        log = hub.log.read_text()
    assert "DSX_QOUTA is not a setting" in log
    assert log.count("is not a setting") == 1


def test_a_second_server_leaves_commands_to_the_first(tmp_path: Path) -> None:
    with running_hub(tmp_path) as first:
        place = first.data_dir / "server.json"
        with running_hub(tmp_path / "second", DSX_DATA_DIR=str(first.data_dir)) as second:
            assert f"another server uses this data directory, at {first.url}" in (
                second.log.read_text()
            )
        assert first.url in place.read_text()
