"""`parse_range` against a naive model."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dsx.core.errors import RangeUnsatisfiable
from dsx.core.ranges import MAX_RANGES, ByteRange, parse_range

number = st.integers(0, 30).map(str)
spec = st.one_of(
    st.builds(lambda a, b: f"{a}-{b}", number, number),
    st.builds(lambda a: f"{a}-", number),
    st.builds(lambda a: f"-{a}", number),
)


def naive(specs: list[str], size: int) -> set[int] | None:
    """The positions asked for; None: malformed."""
    wanted: set[int] = set()
    for text in specs:
        first, _, last = text.partition("-")
        if first and last and int(first) > int(last):
            return None
        if not first:
            wanted |= set(range(max(0, size - int(last)), size))
        else:
            wanted |= set(range(int(first), min(size, int(last) + 1 if last else size)))
    return wanted


@given(st.lists(spec, min_size=1, max_size=6), st.integers(0, 25))
@example(["0-0", "1-1"], 2)
def test_same_positions_as_the_model(specs: list[str], size: int) -> None:
    wanted = naive(specs, size)
    header = "bytes=" + ", ".join(specs)
    if wanted is None:
        assert parse_range(header, size) is None
    elif not wanted:
        with pytest.raises(RangeUnsatisfiable):
            parse_range(header, size)
    else:
        ranges = parse_range(header, size)
        assert ranges is not None
        covered = [position for part in ranges for position in range(part.start, part.stop)]
        assert sorted(wanted) == covered


@pytest.mark.parametrize(
    "header",
    [
        "", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=1", "items=0-1", "bytes=1-0",
        "bytes=0-1;2-3", "bytes=--1", "bytes=+1-2", "bytes=0x1-2", "bytes=٣-٤",
        "bytes=" + ",".join(["0-0"] * (MAX_RANGES + 1)), "bytes=" + "9" * 5000 + "-",
    ],
)  # fmt: skip
def test_what_is_no_range_is_ignored(header: str) -> None:
    assert parse_range(header, 100) is None


@given(st.text(max_size=40))
def test_no_header_is_too_strange(header: str) -> None:
    try:
        ranges = parse_range(header, 100)
    except RangeUnsatisfiable:
        return
    assert ranges is None or all(0 <= part.start < part.stop <= 100 for part in ranges)


def test_content_range() -> None:
    assert ByteRange(0, 500).content_range(1234) == "bytes 0-499/1234"
