"""The client against a server that runs already: `python -m pytest tests/tests.py`.

The server is the one at SERVER_URL, by default the local one on port 8000; its key comes from
DSX_API_KEY or AUTH_TOKEN, as for the client itself. Not part of the suite, which starts its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SERVER = os.environ.get("SERVER_URL", "http://localhost:8000")


def client(*arguments: str, code: int = 0) -> str:
    """What the client prints; it has to end with *code*."""
    ended = subprocess.run(
        [sys.executable, "-m", "cli.cli_client", *arguments],
        cwd=ROOT,
        env=os.environ | {"SERVER_URL": SERVER},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == code, ended.stderr
    return ended.stdout + ended.stderr


@pytest.fixture
def local(tmp_path: Path) -> Path:
    path = tmp_path / f"{uuid.uuid4().hex}.txt"
    path.write_bytes(os.urandom(100_000))
    return path


def test_help() -> None:
    assert "--upload" in client("--help")


def test_upload_list_delete(local: Path) -> None:
    client("--upload", str(local))
    assert local.name in client("--list").splitlines()
    client("--delete", local.name)
    assert local.name not in client("--list").splitlines()


def test_what_was_uploaded_comes_back(local: Path, tmp_path: Path) -> None:
    client("-u", str(local))
    client("download", local.name, "-o", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == local.read_bytes()
    client("-d", local.name)


def test_uploading_a_missing_file() -> None:
    assert "missing.txt" in client("-u", "missing.txt", code=3)


def test_deleting_a_missing_file() -> None:
    assert "missing" in client("-d", f"missing-{uuid.uuid4().hex}", code=3)
