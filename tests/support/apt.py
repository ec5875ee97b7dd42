"""Programs of the system that tests and benchmarks run: installed where that is possible."""

from __future__ import annotations

import os
import shutil
import subprocess

_PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"


def need(command: str, package: str | None = None) -> str:
    """The path of *command*; Debian's *package* is installed for it if this runs as root."""
    found = shutil.which(command, path=_PATH)
    if found is None:
        install(package or command)
        found = shutil.which(command, path=_PATH)
    if found is None:
        raise RuntimeError(f"this needs {command}: install Debian's package {package or command}")
    return found


def install(*packages: str) -> None:
    """Install Debian's *packages*, or say that somebody has to."""
    names = " ".join(packages)
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise RuntimeError(f"this needs packages of Debian: apt-get install {names}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for step in (["update", "-q"], ["install", "-qy", "--no-install-recommends", *packages]):
        subprocess.run(["apt-get", *step], check=True, env=environment, capture_output=True)
