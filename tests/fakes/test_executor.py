"""The mock executor does what the cell's model says, and the scheduler cannot tell it from a real one."""

from __future__ import annotations

import inspect

import pytest

from bench.core.cell import Cell
from bench.core.jsonio import from_json, to_json
from bench.core.record import Outcome, Phase, Record
from bench.runner.executor import LocalExecutor
from tests.fakes.clock import FakeClock
from tests.fakes.executor import MockExecutor
from tests.records import ENVIRONMENT


def cell(model: str) -> Cell:
    return Cell(model=model, batch_size=8)


def test_it_is_run_as_the_real_one() -> None:
    expected = inspect.signature(LocalExecutor.run)
    found = inspect.signature(MockExecutor.run)
    assert list(found.parameters) == list(expected.parameters)


def test_a_cell_takes_the_time_in_its_name() -> None:
    clock = FakeClock()
    started = clock.now
    record = MockExecutor(steps=4, environment=ENVIRONMENT, advance=clock.advance).run(cell("mock:250ms"))
    assert record.outcome is Outcome.OK
    assert record.sample_seconds(Phase.STEP) == (0.25,) * 4
    assert record.environment is ENVIRONMENT
    assert clock.now == started + 1.0


def endings() -> dict[str, Outcome]:
    names = {"oom": Outcome.OUT_OF_MEMORY, "timeout": Outcome.TIMED_OUT}
    return {**names, **{item.value: item for item in (Outcome.SKIPPED, Outcome.FAILED, Outcome.KILLED)}}


def test_every_outcome_can_be_asked_for() -> None:
    assert set(endings().values()) | {Outcome.OK} == set(Outcome)


@pytest.mark.parametrize(("name", "outcome"), endings().items())
def test_a_cell_ends_as_its_name_says_with_a_reason(name: str, outcome: Outcome) -> None:
    record = MockExecutor().run(cell(f"mock:{name}"))
    assert record.outcome is outcome
    assert record.reason
    assert record.samples == ()
    assert from_json(Record, to_json(record)) == record


def test_an_interrupt_is_raised_as_by_ctrl_c() -> None:
    executor = MockExecutor()
    with pytest.raises(KeyboardInterrupt):
        executor.run(cell("mock:interrupt"))
    assert executor.ran == [cell("mock:interrupt")]


@pytest.mark.parametrize("model", ["my_net", "mock:soon", "mock:"])
def test_other_models_are_a_mistake_of_the_test(model: str) -> None:
    with pytest.raises(ValueError):
        MockExecutor().run(cell(model))
