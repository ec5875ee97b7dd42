"""Where blobs are: one setting under two names, and what is not shown of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.hub import clean_environment

from dsx.config import Settings


def shown(directory: Path, **variables: str) -> tuple[str, str]:
    """What ``dsx config`` says of it."""
    done = subprocess.run(
        [sys.executable, "-m", "dsx", "--json", "config"],
        env=clean_environment(**variables),
        cwd=directory,
        check=True,
        capture_output=True,
        text=True,
    )
    rows = {row["setting"]: row for row in map(json.loads, done.stdout.splitlines())}
    row = rows["DSX_STORAGE_URL"]
    return row["value"], row["origin"]


@pytest.mark.ledger("S2.28")
def test_two_names(tmp_path: Path) -> None:
    assert shown(tmp_path) == (None, "default")
    assert shown(tmp_path, DSX_STORAGE="s3://a") == ("s3://a", "environment")
    both = {"DSX_STORAGE": "s3://a", "DSX_STORAGE_URL": "s3://b"}
    assert shown(tmp_path, **both) == ("s3://b", "environment")
    (tmp_path / ".env").write_text("DSX_STORAGE=s3://c")
    assert shown(tmp_path) == ("s3://c", ".env")
    assert shown(tmp_path, DSX_STORAGE_URL="s3://b") == ("s3://b", "environment")


def test_workers_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {"DSX_STORAGE": "s3://old"})
    Settings(storage_url="s3://new").export()
    assert Settings().storage == "s3://new"


def test_secrets_are_masked(tmp_path: Path) -> None:
    url = "s3://bucket?access_key_id=id&secret_access_key=hush&session_token=sh&region=here"
    value, _ = shown(tmp_path, DSX_STORAGE=url)
    stars = "*" * 8
    assert value == (
        f"s3://bucket?access_key_id=id&secret_access_key={stars}&session_token={stars}&region=here"
    )
