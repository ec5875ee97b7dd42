"""Commands as a user types them, run by a real shell: the curl lines of the seeds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support.hub import clean_environment


def run(command: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run *command* in bash with *variables* in its environment; whatever its exit code.

    ``dsx`` is the one that belongs to the Python that runs the tests.
    """
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=cwd,
        env=clean_environment(PATH=path) | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )


def sh(command: str, cwd: Path, **variables: str) -> str:
    """What *command* prints; it has to succeed."""
    ended = run(command, cwd, **variables)
    assert ended.returncode == 0, f"{command}\n{ended.stdout}\n{ended.stderr}"
    return ended.stdout
