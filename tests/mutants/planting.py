"""Copies of the tree with mistakes in them, and what tests say of those."""

from __future__ import annotations

import compileall
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

from tests.mutants.mutants import ROOT, Mutant

PASSED, FAILED = 0, 1  # pytest's exit codes; all others say that tests did not run as they should
REPORT = "report.xml"
_SECONDS = 100
_BROKEN = ("ImportError", "ModuleNotFoundError", "NameError", "SyntaxError")


@dataclass(frozen=True)
class Outcome:
    """What came of a run of pytest.

    Attributes:
        code: its exit code; -1: it did not end in time.
        failure: how a test failed, in a line; empty: none did.
        output: what it printed.
        seconds: how long it took.
    """

    code: int
    failure: str
    output: str
    seconds: float

    @property
    def caught(self) -> bool:
        """Whether a test ran and failed, and not for want of something to run."""
        return self.code == FAILED and bool(self.failure) and not self.failure.startswith(_BROKEN)


@contextmanager
def copied() -> Iterator[Path]:
    """A copy of what is, or could be, in the repository."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    with tempfile.TemporaryDirectory(prefix="mutants-") as directory:
        copy = Path(directory)
        for name in filter(None, names.split("\0")):
            if (ROOT / name).is_file():
                (copy / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, copy / name)
        compileall.compile_dir(copy / "src", quiet=2)
        yield copy


def plant(copy: Path, mutant: Mutant, number: int) -> Outcome:
    """What the mutant's tests say of it; *number* is another one for each mutant."""
    path = copy / mutant.file
    original, status = path.read_text(), path.stat()
    path.write_text(mutant.planted(original))
    # Python tells by time and size whether what it has compiled is of this text.
    os.utime(path, (number, number))
    try:
        return run(copy, mutant.tests, report=copy / REPORT)
    finally:
        path.write_text(original)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def run(
    copy: Path,
    tests: Iterable[str],
    *options: str,
    report: Path,
    seconds: float = 3 * _SECONDS,
) -> Outcome:
    """Run *tests* in *copy* up to the first failure; *report* is where pytest writes its own."""
    report.unlink(missing_ok=True)
    command = [
        sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--no-header",
        "-p", "pytest_timeout", f"--timeout={_SECONDS}", f"--junitxml={report}",
        *options, *tests,
    ]  # fmt: skip
    # Plugins that are installed but not needed would take most of the time.
    variables = {"PYTHONPATH": str(copy / "src"), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    begun = time.monotonic()
    try:
        done = subprocess.run(
            command, cwd=copy, env=os.environ | variables, capture_output=True, text=True,
            timeout=seconds, check=False,
        )  # fmt: skip
        code, output = done.returncode, done.stdout + done.stderr
    except subprocess.TimeoutExpired:
        code, output = -1, f"It did not end within {seconds:.0f} s."
    return Outcome(code, _failure(report), output, time.monotonic() - begun)


def _failure(report: Path) -> str:
    """How a test failed; that one could not begin, or not end well, is an error of another kind."""
    if not report.exists():
        return ""
    failure = next(ET.parse(report).iter("failure"), None)
    lines = (failure.get("message") or "").strip().splitlines() if failure is not None else []
    return next(iter(lines), "") or ("" if failure is None else "it failed")
