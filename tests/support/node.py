"""Node.js packages and the browser that some tests drive: installed where that is possible."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

from tests.support.apt import need


def node_modules(directory: Path) -> Path:
    """The packages that *directory*'s package-lock.json names, installed if they are not yet."""
    need("node", "nodejs")
    npm = need("npm")
    modules = directory / "node_modules"
    stamp = modules / ".lock-digest"
    lock = hashlib.sha256((directory / "package-lock.json").read_bytes()).hexdigest()
    if not stamp.exists() or stamp.read_text() != lock:
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        subprocess.run(command, cwd=directory, check=True, capture_output=True)
        stamp.write_text(lock)
    return modules


def chromium() -> str:
    """The path of Debian's Chromium."""
    return need("chromium")
