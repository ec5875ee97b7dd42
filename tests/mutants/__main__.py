"""Plant every mutant in copies of the tree, two at a time, and see whether its tests notice."""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from queue import SimpleQueue

from tests.mutants.mutants import Mutant, mutants
from tests.mutants.planting import PASSED, REPORT, Outcome, copied, plant, run

_SHOWN = 100


def main() -> int:
    """The exit code: 0 if every mutant that was planted was caught."""
    options = _options()
    begun = time.monotonic()
    chosen = [m for m in mutants() if not options.names or any(n in m.name for n in options.names)]
    if options.sample:
        chosen = random.sample(chosen, min(options.sample, len(chosen)))
    with ExitStack() as stack:
        copies = [stack.enter_context(copied()) for _ in range(options.jobs)]
        if not (options.unproven or _pass_without(copies, chosen)):
            return 2
        unseen = _unseen(copies, chosen)
    minutes, seconds = divmod(round(time.monotonic() - begun), 60)
    caught = len(chosen) - len(unseen)
    print(
        f"planted {len(chosen)}, caught {caught}, unseen {len(unseen)} in {minutes} min {seconds} s"
    )
    for mutant in unseen:
        print(f"  unseen: {mutant.name} ({mutant.file})")
    return 1 if unseen else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("names", nargs="*", help="only mutants whose name has one of these in it")
    parser.add_argument("--sample", type=int, help="only so many, chosen by chance")
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time (default: 2)")
    parser.add_argument("--unproven", action="store_true",
                        help="do not run the tests without the mutants before")  # fmt: skip
    return parser.parse_args()


def _pass_without(copies: Sequence[Path], chosen: Sequence[Mutant]) -> bool:
    """Whether all tests are there and pass, and so fail for their mutants' sake only."""
    files: dict[str, set[str]] = {}
    for mutant in chosen:
        for test in mutant.tests:
            files.setdefault(test.partition("::")[0], set()).add(test)
    shares = [sorted(files)[number :: len(copies)] for number in range(len(copies))]

    def passing(copy: Path, share: Sequence[str]) -> Outcome:
        tests = [test for file in share for test in sorted(files[file])]
        return run(copy, tests, report=copy / REPORT, seconds=3600)

    print(f"{len(chosen)} mutants; their tests without them:", end=" ", flush=True)
    begun = time.monotonic()
    with ThreadPoolExecutor(len(copies)) as pool:
        outcomes = list(pool.map(passing, copies, shares))
    wrong = [outcome for outcome in outcomes if outcome.code != PASSED]
    print(f"{'fail' if wrong else 'pass'} in {time.monotonic() - begun:.0f} s", flush=True)
    for outcome in wrong:
        print(f"exit code {outcome.code}", outcome.output, sep="\n")
    return not wrong


def _unseen(copies: Sequence[Path], chosen: Sequence[Mutant]) -> list[Mutant]:
    free: SimpleQueue[Path] = SimpleQueue()
    for copy in copies:
        free.put(copy)

    def seen(number: int, mutant: Mutant) -> bool:
        copy = free.get()
        try:
            outcome = plant(copy, mutant, number)
        finally:
            free.put(copy)
        _tell(mutant, outcome)
        return outcome.caught

    with ThreadPoolExecutor(len(copies)) as pool:
        caught = list(pool.map(seen, range(1, len(chosen) + 1), chosen))
    return [mutant for mutant, was in zip(chosen, caught, strict=True) if not was]


def _tell(mutant: Mutant, outcome: Outcome) -> None:
    said = "caught" if outcome.caught else "UNSEEN"
    line = f"{said} {outcome.seconds:5.1f} s  {mutant.name}: {outcome.failure[:_SHOWN]}"
    print(line.rstrip(": "), flush=True)
    if not outcome.caught and outcome.code != PASSED:  # it kept the tests from running: no proof
        print(f"exit code {outcome.code}", outcome.output, sep="\n", flush=True)


if __name__ == "__main__":
    sys.exit(main())
