"""The list of promises, the tests that prove them, and the documentation's count agree."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.promises import LIST, due, flagged, table

ROOT = Path(__file__).parents[2]
_MARK = re.compile(r"mark\.ledger\(([^)]*)\)")


def claimed() -> set[str]:
    """The promises that tests outside the drills say they prove."""
    texts = [path.read_text() for path in (ROOT / "tests").rglob("test_*.py") if _is_ours(path)]
    marks = [mark for text in texts for mark in _MARK.findall(text)]
    return {number for mark in marks for number in re.findall(r"S\d\.\d+", mark)}


def _is_ours(path: Path) -> bool:
    return not {"node_modules", "drills"} & set(path.parts)


def test_every_promise_that_is_claimed_was_made() -> None:
    made = {line.split()[0] for line in LIST.read_text().splitlines()}
    assert claimed() - made == set()


def test_every_promise_that_is_due_is_claimed_by_a_test() -> None:
    assert set(due()) - claimed() == set(flagged("open"))


def test_the_documentation_gives_the_count() -> None:
    assert table(claimed()) in (ROOT / "docs" / "benchmarks.md").read_text()
