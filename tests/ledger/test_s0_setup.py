"""S0 (tinydist seed): installing, starting, testing, contributing."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import requests
from tests.support.hub import clean_environment, running_hub
from tests.support.shell import sh

ROOT = Path(__file__).resolve().parents[2]
PARTS = [
    "pyproject.toml",
    "constraints.txt",
    "README.md",
    "LICENSE",
    "requirements.txt",
    "Makefile",
]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree with a clean virtual environment in it."""
    tree = tmp_path_factory.mktemp("clone")
    for name in PARTS:
        shutil.copy(ROOT / name, tree)
    leave_out = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(ROOT / "src", tree / "src", ignore=leave_out)
    subprocess.run([sys.executable, "-m", "venv", tree / ".venv"], check=True)
    return tree


@pytest.mark.ledger("S0.25", "S0.26")
@pytest.mark.timeout(300)
def test_s0_25_26_pip_installs_it_into_a_clean_environment(clone: Path) -> None:
    pip = ".venv/bin/python -m pip install --quiet --disable-pip-version-check"
    sh(f"{pip} -r requirements.txt; {pip} -e .", clone, PYTHONPATH="")
    where = "import dsx, dsx.app; print(dsx.__file__)"
    assert sh(f'.venv/bin/python -c "{where}"', clone, PYTHONPATH="").startswith(f"{clone}/src/")
    assert "dsx" in sh(".venv/bin/dsx version", clone, PYTHONPATH="")


@pytest.mark.ledger("S0.32", "S0.34")
@pytest.mark.timeout(300)
def test_s0_32_34_make_server_starts_it_on_port_5002(clone: Path) -> None:
    process = subprocess.Popen(
        ["make", "server", f"PYTHON={sys.executable}"],
        cwd=clone,
        env=clean_environment(DSX_PORT="5002", AUTH_TOKEN="secret_token", PYTHONPATH=""),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        printed = iter(process.stdout.readline, "")
        assert "ready: http://127.0.0.1:5002\n" in printed
        assert sh("curl -f http://127.0.0.1:5002/health", clone)
        listing = 'curl -G -H "Authorization: secret_token" http://localhost:5002/metadata/list'
        assert sh(listing, clone) == "[]"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(20)
        process.stdout.close()


@pytest.mark.ledger("S0.33")
def test_s0_33_make_test_is_what_runs_this(tmp_path: Path) -> None:
    """That it ends with 0 is what every run of this suite is about."""
    told = sh(f"make -n -C {ROOT} -o .venv/.test test", tmp_path)
    assert re.search(r'^\S+/python -m pytest -m "not drill"( --|$)', told, re.MULTILINE), told
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]
    assert settings["ini_options"]["testpaths"] == ["tests"]
    (script,) = [path for path in (ROOT / ".ci").iterdir() if "make" in path.read_text()]
    assert re.search(r"^make\b.*\btest\b", script.read_text(), re.MULTILINE)


@pytest.mark.ledger("S0.35")
@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1"])
def test_s0_35_other_hosts_reach_it_if_it_is_told_to(tmp_path: Path, host: str) -> None:
    with running_hub(tmp_path, DSX_HOST=host) as hub:
        other_address = hub.url.replace(host, "127.0.0.2")
        asked = {"headers": {"Authorization": hub.key}, "timeout": 10}
        if host == "0.0.0.0":
            answer = requests.get(f"{other_address}/metadata/list", **asked)
            assert answer.json() == []
        else:
            with pytest.raises(requests.ConnectionError):
                requests.get(f"{other_address}/metadata/list", **asked)


@pytest.mark.ledger("S0.38")
def test_s0_38_contributing(tmp_path: Path) -> None:
    sh(f"test -f {ROOT}/CONTRIBUTING.md", tmp_path)
    assert "make test" in (ROOT / "CONTRIBUTING.md").read_text()
