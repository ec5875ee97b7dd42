"""The sizes that the architecture promises."""

from __future__ import annotations

import statistics

from tools.house import MOST_LINES, modules


def test_modules_are_short() -> None:
    sizes = modules()
    assert {path: lines for path, lines in sizes.items() if lines > MOST_LINES} == {}
    assert statistics.median(sizes.values()) <= 150
