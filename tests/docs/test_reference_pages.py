"""The reference pages of the documentation say what the code says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.hub import clean_environment

ROOT = Path(__file__).parents[2]


def test_reference_pages_are_written_from_the_code(tmp_path: Path) -> None:
    """Every setting, command, error code and route has its entry."""
    ended = subprocess.run(
        [sys.executable, "-m", "tools.reference", "--check"],
        cwd=ROOT,
        env=clean_environment(HOME=str(tmp_path)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
