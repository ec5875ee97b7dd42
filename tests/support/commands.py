"""`dsx …` as a process of its own, with no settings but those it is given."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.hub import clean_environment

Done = subprocess.CompletedProcess[bytes]


@dataclass(frozen=True)
class Commands:
    """Runs `dsx` in *directory*, which is its home, too; it has *variables*."""

    directory: Path
    variables: dict[str, str]
    python: tuple[str, ...] = (sys.executable,)

    def _environment(self, more: dict[str, str]) -> dict[str, str]:
        places = {
            "HOME": str(self.directory),
            "XDG_STATE_HOME": str(self.state),
            "XDG_CACHE_HOME": str(self.directory / ".cache"),
        }
        return clean_environment(**(places | self.variables | more))

    @property
    def state(self) -> Path:
        """Where programs remember things between their runs."""
        return self.directory / ".state"

    def start(self, *arguments: str, **more: str) -> subprocess.Popen[bytes]:
        """A command that goes on beside the test."""
        return subprocess.Popen(
            [*self.python, "-m", "dsx", *arguments],
            env=self._environment(more),
            cwd=self.directory,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def __call__(self, *arguments: str, stdin: bytes = b"", code: int = 0, **more: str) -> Done:
        """Run one to its end; it has to exit with *code*, and without a traceback."""
        done = self.run(*arguments, stdin=stdin, **more)
        assert done.returncode == code, done.stderr.decode()
        assert b"Traceback" not in done.stderr
        return done

    def run(self, *arguments: str, stdin: bytes = b"", **more: str) -> Done:
        """Run one to its end, however that is."""
        return subprocess.run(
            [*self.python, "-m", "dsx", *arguments],
            input=stdin,
            env=self._environment(more),
            cwd=self.directory,
            capture_output=True,
            timeout=60,
            check=False,
        )


def ended(process: subprocess.Popen[bytes], code: int = 0) -> Done:
    """What a started command printed; it has to exit with *code*, and without a traceback."""
    printed, told = process.communicate(timeout=60)
    assert process.returncode == code, told.decode()
    assert b"Traceback" not in told
    return Done(process.args, code, printed, told)


def lines(done: Done) -> list[dict[str, Any]]:
    """What it printed with --json."""
    return [json.loads(line) for line in done.stdout.splitlines()]
