"""The engine against a plain model: a thousand random steps here, ten thousand in the drills."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from tests.uploads.machine import MemoryMachine, UploadMachine

MACHINES = [UploadMachine, MemoryMachine]


def run(machine: type[UploadMachine], examples: int, steps: int) -> int:
    machine.steps = 0
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    return machine.steps


@pytest.mark.timeout(300)
@pytest.mark.parametrize("machine", MACHINES)
def test_engine_and_model_agree(machine: type[UploadMachine]) -> None:
    assert run(machine, examples=25, steps=30) > 500


@pytest.mark.drill
@pytest.mark.parametrize("machine", MACHINES)
def test_engine_and_model_agree_for_long(machine: type[UploadMachine]) -> None:
    assert run(machine, examples=250, steps=50) > 10_000
