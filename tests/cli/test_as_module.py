"""The command line as a module."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["dsx", "dsx.cli.main"])
def test_a16_modules_run_the_command_line(module: str) -> None:
    """A16: each says what it does, and fails with a code of its own."""
    said = subprocess.run(
        [sys.executable, "-m", module, "nonsense"], capture_output=True, text=True, check=False
    )
    assert said.returncode == 2
    assert "nonsense" in said.stderr
