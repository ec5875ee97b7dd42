"""The README's first session, pasted line by line into a clean clone with an empty HOME."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from tests.support.hub import clean_environment
from tests.support.started import free_port
from tests.support.venvs import copy_of_checkout
from tests.support.waiting import eventually

README = Path(__file__).parents[2] / "README.md"


def test_the_readme_is_short() -> None:
    assert len(README.read_text().splitlines()) < 120


def installed(clone: Path) -> None:
    """Make the clone's ``.venv`` as if `make server` had been there, of what the tests run with."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", clone / ".venv"], check=True)
    (packages,) = (clone / ".venv" / "lib").glob("python*/site-packages")
    paths = [clone / "src", sysconfig.get_paths()["purelib"]]
    (packages / "tests.pth").write_text("".join(f"{path}\n" for path in paths))
    command = clone / ".venv" / "bin" / "dsx"
    command.write_text(f"#!{command.with_name('python')}\nfrom dsx.cli.start import main\nmain()\n")
    command.chmod(0o755)
    (clone / ".venv" / ".server").touch()


@pytest.mark.timeout(120)
def test_the_first_session_works_as_pasted(tmp_path: Path) -> None:
    """`make server` finds everything installed: `test_installing` is about that."""
    session = README.read_text().split("## A first session")[1].split("\n## ")[0]
    server, client = re.findall(r"^```bash\n(.*?)^```$", session, re.DOTALL | re.MULTILINE)
    clone = copy_of_checkout(tmp_path / "clone")
    home = tmp_path / "home"
    home.mkdir()
    installed(clone)
    environment = clean_environment(HOME=str(home), DSX_PORT=str(free_port()))
    with (tmp_path / "server.log").open("w") as log:
        serving = subprocess.Popen(
            ["bash", "-euc", server],
            cwd=clone,
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        eventually(lambda: "ready: " in (tmp_path / "server.log").read_text())
        ended = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", client],
            cwd=clone,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        os.killpg(serving.pid, signal.SIGTERM)
        serving.wait(30)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "version 2" in ended.stdout
    assert list((clone / "data").rglob("decoder.py"))
