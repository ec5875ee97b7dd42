"""Logs for people and for programs."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys

import pytest
from tests.support.hub import clean_environment

PROGRAM = """
import structlog
from dsx.logs import configure_logging
configure_logging("info", %r)
structlog.get_logger().info("started", token="dsx_%s")
"""


def logged(format_: str, *, terminal: bool) -> str:
    """What a program logs."""
    ours, theirs = pty.openpty() if terminal else os.pipe()
    subprocess.run(
        [sys.executable, "-c", PROGRAM % (format_, "a" * 30)],
        env=clean_environment(),
        stderr=theirs,
        check=True,
    )
    found = os.read(ours, 10_000).decode()
    os.close(ours)
    os.close(theirs)
    return found


@pytest.mark.parametrize(
    ("format_", "terminal", "as_json"),
    [
        ("auto", True, False),
        ("auto", False, True),
        ("json", True, True),
        ("text", False, False),
    ],
)
def test_the_format_of_logs(format_: str, terminal: bool, as_json: bool) -> None:
    line = logged(format_, terminal=terminal)
    assert "a" * 30 not in line, "secrets are hidden either way"
    if as_json:
        assert json.loads(line)["event"] == "started"
    else:
        assert "started" in line
        assert not line.startswith("{")
