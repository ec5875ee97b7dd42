"""S2 (the minimal file server seed): its client, and the same flags of `dsx`."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.hub import RunningHub, clean_environment, running_hub
from tests.support.shell import run, sh

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    """A hub of this module's own, whose files are few."""
    with running_hub(tmp_path_factory.mktemp("s2")) as running:
        yield running


@pytest.fixture
def client(small: RunningHub, tmp_path: Path) -> dict[str, str]:
    """A directory as the seed's README has it: the client below it, told where the hub is."""
    (tmp_path / "cli").symlink_to(ROOT / "cli")
    return {
        "SERVER_URL": small.url,
        "DSX_API_KEY": small.key,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "XDG_STATE_HOME": str(tmp_path / ".state"),
    }


FORMS = ("python -m cli.cli_client", "dsx")


@pytest.mark.ledger("S2.12", "S2.14")
@pytest.mark.parametrize("flag", ["-h", "--help"])
@pytest.mark.parametrize("form", FORMS)
def test_s2_12_s2_14_help(client: dict[str, str], tmp_path: Path, form: str, flag: str) -> None:
    printed = sh(f"{form} {flag}", tmp_path, **client)
    for told in ("-l, --list", "-u, --upload FILE", "-d, --delete NAME"):
        assert told in printed


@pytest.mark.ledger("S2.15", "S2.16", "S2.18")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("list_", "upload", "delete"),
    [("-l", "-u", "-d"), ("--list", "--upload", "--delete"), ("--list", "--upload=", "--delete=")],
)
def test_s2_15_s2_16_s2_18_list_upload_delete(
    client: dict[str, str], tmp_path: Path, form: str, list_: str, upload: str, delete: str
) -> None:
    def count() -> int:
        return int(sh(f"{form} {list_} | wc -l", tmp_path, **client))

    upload, delete = (flag if flag.endswith("=") else f"{flag} " for flag in (upload, delete))
    before = count()
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "17").write_bytes(b"seventeen")
    sh(f"{form} {upload}sub/17", tmp_path, **client)
    assert "17" in sh(f"{form} {list_}", tmp_path, **client).splitlines()
    assert count() == before + 1
    sh(f"{form} {delete}17", tmp_path, **client)
    assert count() == before


@pytest.mark.ledger("S2.17")
@pytest.mark.parametrize("form", FORMS)
def test_s2_17_a_missing_file_is_told_and_nothing_is_sent(
    client: dict[str, str], tmp_path: Path, form: str
) -> None:
    heard: list[object] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def listen() -> None:
            connection, address = server.accept()
            heard.append(address)
            connection.close()

        thread = threading.Thread(target=listen)
        thread.start()
        client["SERVER_URL"] = f"http://127.0.0.1:{server.getsockname()[1]}"
        ended = run(f"{form} -u missing.txt", tmp_path, **client)
        told_nothing = not heard
        socket.create_connection(server.getsockname()).close()  # the listener does hear
        thread.join(10)
    assert heard
    assert told_nothing
    assert ended.returncode not in {0, 7}
    assert "missing.txt" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.ledger("S2.19")
@pytest.mark.parametrize("form", FORMS)
def test_s2_19_deleting_what_is_not_there_is_told(
    client: dict[str, str], tmp_path: Path, form: str
) -> None:
    ended = run(f"{form} -d missing.txt", tmp_path, **client)
    assert ended.returncode == 3
    assert "missing.txt" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.ledger("S2.20")
@pytest.mark.parametrize("form", FORMS)
def test_s2_20_command_and_file(client: dict[str, str], tmp_path: Path, form: str) -> None:
    (tmp_path / "s2-20.txt").write_bytes(b"x")
    sh(f"{form} upload s2-20.txt", tmp_path, **client)
    assert "s2-20.txt\n" in sh(f"{form} list", tmp_path, **client)
    sh(f"{form} delete s2-20.txt", tmp_path, **client)
    assert "s2-20.txt\n" not in sh(f"{form} list", tmp_path, **client)


def test_flags_mix_with_general_options(client: dict[str, str], tmp_path: Path) -> None:
    server = client.pop("SERVER_URL")
    (tmp_path / "mixed").write_bytes(b"x")
    sh(f"dsx --server {server} -u mixed", tmp_path, **client)
    assert '"name": "mixed"' in sh(f"dsx -l --json --server {server}", tmp_path, **client)
    sh(f"dsx -d mixed --server={server}", tmp_path, **client)


@pytest.mark.ledger("S2.13")
def test_s2_13_the_clients_file_names_the_server(small: RunningHub, tmp_path: Path) -> None:
    small.store("s2-13.txt", b"x")
    config = tmp_path / "cli" / "config" / "cli_config.py"
    config.parent.mkdir(parents=True)
    for path in ("__init__.py", "cli_client.py", "config/cli_config.py"):
        (tmp_path / "cli" / path).write_text((ROOT / "cli" / path).read_text())
    port = small.url.rsplit(":", 1)[1]
    assert "SERVER_PORT = 5000" in config.read_text()
    config.write_text(config.read_text().replace("SERVER_PORT = 5000", f"SERVER_PORT = {port}"))

    def listing(**variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "cli.cli_client", "--list"],
            env=clean_environment(DSX_API_KEY=small.key, **variables),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )

    assert "s2-13.txt" in listing().stdout.splitlines()
    elsewhere = listing(SERVER_URL="http://127.0.0.1:9")
    assert elsewhere.returncode != 0
    assert "127.0.0.1:9" in elsewhere.stderr
