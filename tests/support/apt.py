"""Programs of the system that tests and benchmarks run: installed where that is possible."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from tests.support.turns import turn

_PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
T = TypeVar("T")


def need(command: str, package: str | None = None) -> str:
    """The path of *command*; Debian's *package* is installed for it if this runs as root."""
    return ensure(partial(shutil.which, command, path=_PATH), package or command)


def ensure(look: Callable[[], T | None], *packages: str) -> T:
    """What *look* finds, if need be once Debian's *packages* are installed; or say who has to.

    Nobody looks while another process installs: what there is then may be half of it.
    """
    with turn("apt"):
        found = look()
        if not found:
            _install(*packages)
            found = look()
    if not found:
        raise RuntimeError(f"Debian's {' '.join(packages)} did not bring what is needed")
    return found


def _install(*packages: str) -> None:
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise RuntimeError(f"this needs packages of Debian: apt-get install {' '.join(packages)}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for step in (["update", "-q"], ["install", "-qy", "--no-install-recommends", *packages]):
        subprocess.run(["apt-get", *step], check=True, env=environment, capture_output=True)
