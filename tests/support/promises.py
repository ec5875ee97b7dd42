"""Counts the promises of the seed systems that a run of the tests has proven.

Hooks of pytest, imported by `tests/conftest.py`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import pytest

LIST = Path(__file__).parents[1] / "ledger" / "promises.txt"
_SYSTEMS = ("S0", "S1", "S2", "S3", "S4")

_PROVES = "proves"
_passed: dict[str, bool] = defaultdict(lambda: True)


def flagged(*flags: str) -> list[str]:
    """The promises with one of *flags*."""
    lines = (line.split(maxsplit=2) for line in LIST.read_text().splitlines())
    return [number for number, flag, _ in lines if number != "#" and flag in flags]


def due() -> list[str]:
    """The promises that have to be proven by now."""
    return flagged("-", "open")


def by_system(numbers: Iterable[str]) -> dict[str, int]:
    """How many of *numbers* there are of each system."""
    found = [number.partition(".")[0] for number in numbers]
    return {system: found.count(system) for system in _SYSTEMS}


def table(proven: Iterable[str]) -> str:
    """*proven* of what is due, system by system: ``S0 37/37, S1 …, together 215/215``."""
    wanted = due()
    have, most = by_system(set(proven) & set(wanted)), by_system(wanted)
    parts = [f"{system} {have[system]}/{most[system]}" for system in _SYSTEMS]
    return ", ".join([*parts, f"together {sum(have.values())}/{len(wanted)}"])


def pytest_collection_finish(session: pytest.Session) -> None:
    """Have each test's report say what it proves: tests may run in other processes than this."""
    for item in session.items:
        numbers = [number for mark in item.iter_markers("ledger") for number in mark.args]
        item.user_properties += [(_PROVES, number) for number in numbers]


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """A promise is proven if all tests that have it in their name have passed."""
    if report.when == "call" or not report.passed:
        for kind, number in report.user_properties:
            if kind == _PROVES:
                _passed[str(number)] = _passed[str(number)] and report.passed


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell the count."""
    if _passed:
        proven = [number for number, passed in _passed.items() if passed]
        terminalreporter.write_line(f"promises of the seed systems proven: {table(proven)}")
