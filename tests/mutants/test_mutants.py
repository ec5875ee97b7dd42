"""The mutants fit the code as it stands; `make mutants` shows whether the tests notice them."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.mutants.mutants import ROOT, Mutant, mutants
from tests.mutants.planting import FAILED, PASSED, Outcome, run

MOST_TESTS = 2


@pytest.mark.parametrize("mutant", [*mutants()], ids=lambda mutant: mutant.name)
def test_each_can_be_planted_and_has_its_tests(mutant: Mutant) -> None:
    text = (ROOT / mutant.file).read_text()
    changed = mutant.planted(text)
    assert changed != text
    compile(changed, mutant.file, "exec")
    assert 1 <= len(mutant.tests) <= MOST_TESTS
    assert all("::test_" in test for test in mutant.tests)


def test_names_are_unique_and_there_are_enough_of_them() -> None:
    names = [mutant.name for mutant in mutants()]
    assert len(set(names)) == len(names)
    assert len(names) >= 120
    rooms = {Path(mutant.file).parts[2] for mutant in mutants()}
    assert rooms >= {"hub", "blobs", "catalog", "http", "protocols", "client"}


def test_their_tests_are_there(tmp_path: Path) -> None:
    tests = sorted({test for mutant in mutants() for test in mutant.tests})
    found = run(ROOT, tests, "--collect-only", report=tmp_path / "report.xml")
    assert found.code == PASSED, found.output


@pytest.mark.parametrize(
    ("code", "failure", "caught"),
    [
        (FAILED, "assert 1 == 2", True),
        (FAILED, "Failed: DID NOT RAISE Gone", True),
        (FAILED, "", False),  # a fixture failed
        (FAILED, "ImportError: no such name", False),
        (PASSED, "", False),
        (4, "", False),  # there is no such test
        (5, "", False),  # no test was collected
        (-1, "", False),  # it never ended
    ],
)
def test_what_counts_as_caught(code: int, failure: str, caught: bool) -> None:
    assert Outcome(code, failure, "", 0.0).caught is caught
