"""Which bytes of an upload have arrived."""

from __future__ import annotations

import pytest

from dsx.core.intervals import IntervalSet
from dsx.core.ranges import ByteRange

Pairs = list[list[int]]


@pytest.mark.parametrize(
    ("before", "new", "after"),
    [
        ([[0, 10]], (10, 20), [[0, 20]]),
        ([[10, 20]], (0, 10), [[0, 20]]),
        ([[0, 10], [20, 30]], (10, 20), [[0, 30]]),
        ([[0, 10], [20, 30]], (12, 18), [[0, 10], [12, 18], [20, 30]]),
        ([[0, 10], [20, 30]], (5, 25), [[0, 30]]),
        ([[0, 10]], (5, 5), [[0, 10]]),
    ],
)
def test_what_overlaps_or_touches_is_joined(
    before: Pairs, new: tuple[int, int], after: Pairs
) -> None:
    assert IntervalSet.of(before).add(ByteRange(*new)).pairs() == after


@pytest.mark.parametrize(
    ("pairs", "prefix"),
    [([], 0), ([[0, 10]], 10), ([[5, 10]], 0), ([[0, 3], [5, 10]], 3)],
)
def test_the_prefix_begins_at_0_and_ends_at_the_first_gap(pairs: Pairs, prefix: int) -> None:
    assert IntervalSet.of(pairs).prefix == prefix


@pytest.mark.parametrize(
    ("pairs", "length", "covered"),
    [
        ([[0, 10]], 10, True),
        ([[0, 10]], 9, False),
        ([[0, 10]], 11, False),
        ([[1, 10]], 10, False),
        ([[0, 4], [5, 10]], 10, False),
        ([], 0, True),
    ],
)
def test_a_length_is_covered_if_all_is_there_and_nothing_beyond(
    pairs: Pairs, length: int, covered: bool
) -> None:
    assert IntervalSet.of(pairs).covers(length) is covered
