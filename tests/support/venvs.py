"""Clean virtual environments, and a copy of the checkout to install from."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.hub import clean_environment

ROOT = Path(__file__).resolve().parents[2]


def copy_of_checkout(directory: Path) -> Path:
    """What git would have cloned, and what is new: nothing that is built or ignored."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=ROOT, check=True, capture_output=True).stdout
    for name in names.decode().split("\0")[:-1]:
        if (ROOT / name).exists():
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            (directory / name).write_bytes((ROOT / name).read_bytes())
    return directory


class CleanVenv:
    """A virtual environment with pip and nothing else in it."""

    def __init__(self, directory: Path) -> None:
        self.bin = directory / "bin"
        subprocess.run([sys.executable, "-m", "venv", directory], check=True)

    def sh(self, command: str, cwd: Path, **variables: str) -> str:
        """What *command* prints with this environment activated; it has to succeed."""
        environment = clean_environment(**variables)
        environment.pop("PYTHONPATH", None)
        environment["PATH"] = f"{self.bin}:{environment['PATH']}"
        ended = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=cwd,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, f"{command}\n{ended.stdout}\n{ended.stderr}"
        return ended.stdout
