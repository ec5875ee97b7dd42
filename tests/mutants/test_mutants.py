"""The mutants fit the code as it stands; `make mutants` shows whether the tests notice them."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.mutants.mutants import ROOT, Mutant, mutants


@pytest.mark.parametrize("mutant", [*mutants()], ids=lambda mutant: mutant.name)
def test_each_can_be_planted_and_has_its_tests(mutant: Mutant) -> None:
    text = (ROOT / mutant.file).read_text()
    changed = mutant.planted(text)
    assert changed != text
    compile(changed, mutant.file, "exec")
    for test in mutant.tests:
        path, _, function = test.partition("::")
        written = (ROOT / path).read_text()
        assert not function or f"def {function.partition('[')[0].rpartition('::')[2]}(" in written


def test_names_are_unique_and_there_are_enough_of_them() -> None:
    names = [mutant.name for mutant in mutants()]
    assert len(set(names)) == len(names)
    assert len(names) >= 120
    rooms = {Path(mutant.file).parts[2] for mutant in mutants()}
    assert rooms >= {"hub", "blobs", "catalog", "http", "protocols", "client"}
