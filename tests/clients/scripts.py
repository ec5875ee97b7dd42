"""Runs the scripts in js/, which drive JavaScript clients and print what happened as JSON."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.support.node import node, node_modules

JS = Path(__file__).parent / "js"
SECONDS = 50


def run(script: str, **job: Any) -> dict[str, Any]:
    """What *script*, given *job*, says in the end."""
    node_modules(JS)
    done = subprocess.run(
        [node(), JS / script, json.dumps(job)],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result
