"""Plant every mutant in a copy of the tree, one at a time, and see whether its tests notice."""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.mutants.mutants import ROOT, Mutant, mutants

_SECONDS = 300
_PASSED, _FAILED = 0, 1


def main() -> int:
    """The exit code: 0 if every mutant that was planted was caught."""
    options = _options()
    chosen = [m for m in mutants() if not options.names or any(n in m.name for n in options.names)]
    if options.sample:
        chosen = random.sample(chosen, min(options.sample, len(chosen)))
    with tempfile.TemporaryDirectory(prefix="mutants-") as directory:
        copy = Path(directory)
        _copy(copy)
        print(f"{len(chosen)} mutants; their tests without them:", end=" ", flush=True)
        code, output = _pytest(copy, sorted({test for m in chosen for test in m.tests}), 3600)
        print("pass" if code == _PASSED else f"exit code {code}")
        if code != _PASSED:
            print(output)
            return 2
        unseen = [mutant for mutant in chosen if not _caught(copy, mutant)]
    print(f"planted {len(chosen)}, caught {len(chosen) - len(unseen)}, unseen {len(unseen)}")
    for mutant in unseen:
        print(f"  unseen: {mutant.name} ({mutant.file})")
    return 1 if unseen else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("names", nargs="*", help="only mutants whose name has one of these in it")
    parser.add_argument("--sample", type=int, help="only so many, chosen by chance")
    return parser.parse_args()


def _copy(copy: Path) -> None:
    """Have in *copy* what is, or could be, in the repository."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)


def _caught(copy: Path, mutant: Mutant) -> bool:
    path = copy / mutant.file
    original = path.read_text()
    path.write_text(mutant.planted(original))
    try:
        code, output = _pytest(copy, mutant.tests, _SECONDS)
    finally:
        path.write_text(original)
    caught = code == _FAILED
    print(f"{'caught' if caught else 'UNSEEN'}  {mutant.name}", flush=True)
    if code not in {_PASSED, _FAILED}:  # the mistake kept the tests from running: no proof
        print(output)
    return caught


def _pytest(copy: Path, tests: Iterable[str], seconds: int) -> tuple[int, str]:
    """Exit code and output of pytest in *copy*; a run that never ends counts as a failure."""
    command: Sequence[str] = [
        sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--no-header",
        *tests,
    ]  # fmt: skip
    environment = os.environ | {"PYTHONPATH": str(copy / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            command, cwd=copy, env=environment, capture_output=True, text=True,
            timeout=seconds, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return _FAILED, ""
    return done.returncode, done.stdout + done.stderr


if __name__ == "__main__":
    sys.exit(main())
