"""Programs of npm, and the browser, that tests run: installed where that is possible."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.support.apt import need
from tests.support.turns import turn


def node() -> str:
    """The path of Node.js."""
    return need("node", "nodejs")


def node_modules(directory: Path) -> Path:
    """The packages that *directory*'s lock file names, installed unless they already are."""
    modules, lock = directory / "node_modules", directory / "package-lock.json"
    node()
    npm = need("npm")
    stamp = modules / ".installed"  # written last: an interrupted installation is none
    with turn("npm"):
        if not stamp.exists() or stamp.read_bytes() != lock.read_bytes():
            command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
            subprocess.run(command, cwd=directory, check=True, capture_output=True)
            stamp.write_bytes(lock.read_bytes())
    return modules


def chromium() -> str:
    """The path of Debian's Chromium."""
    return need("chromium")
