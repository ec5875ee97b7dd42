"""What many connections want at the same moment is done one after another."""

from __future__ import annotations

from dsx.transport.body import Turns


def test_turns_that_are_wanted_at_once_are_apart() -> None:
    turns = Turns(apart=0.5, at_most=2.0)
    assert [turns.turn(10) for _ in range(6)] == [10, 10.5, 11, 11.5, 12, 12]
    assert turns.turn(20) == 20


def test_a_turn_is_never_before_it_is_wanted() -> None:
    turns = Turns(apart=0.5, at_most=2.0)
    turns.turn(10)
    assert turns.turn(10.3) == 10.5
    assert turns.turn(10.9) == 11
