"""The timed loops: where marks stand, what falls into which phase, and that the collector is quiet."""

from __future__ import annotations

import contextlib
import gc
import sys
import weakref
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

import pytest

from bench.core.progress import waited_for
from bench.core.record import Phase, Sampling
from bench.measure.blocks import (
    EXPECTED_STEPS,
    TRAINING_PHASES,
    time_phases,
    time_steps,
    warm_up_until_steady,
    without_garbage_collection,
)
from bench.measure.clock import Clock, DeviceClock, HostClock
from tests.fakes.clock import FakeClock
from tests.fakes.step import ScriptedStep

# Powers of two: sums and differences of them are exact.
SECONDS = {Phase.FORWARD: 2**-6, Phase.LOSS: 2**-10, Phase.BACKWARD: 2**-5, Phase.OPTIMIZER: 2**-7}


def test_whole_steps_have_marks_between_steps_only() -> None:
    clock = FakeClock()
    step = ScriptedStep(clock.advance, SECONDS)
    assert time_steps(step, clock, 3) == ([sum(SECONDS.values())] * 3, [])
    assert clock.calls == ["start", "mark", "mark", "mark", "collect"]
    assert step.ran == [Phase.STEP] * 3


def test_the_first_step_of_a_warm_up_says_what_a_cell_may_take() -> None:
    clock = FakeClock()
    heard: list[float] = []
    with waited_for(heard.append):
        warm_up_until_steady(ScriptedStep(clock.advance, {Phase.FORWARD: [64.0, 2.0, 1.0]}), clock, Sampling())
    assert heard == [EXPECTED_STEPS * 64.0]


def test_phases_are_cut_at_their_borders() -> None:
    clock = FakeClock()
    step = ScriptedStep(clock.advance, SECONDS)
    seconds, host_seconds = time_phases(step, clock, 3)
    assert seconds == {phase: [taken] * 3 for phase, taken in SECONDS.items()}
    assert host_seconds == {phase: [] for phase in TRAINING_PHASES}
    assert step.ran == list(TRAINING_PHASES) * 3
    assert clock.calls == ["start", *["mark"] * 12, "collect"]


def test_each_value_stands_at_its_own_step() -> None:
    clock = FakeClock()
    script = {phase: [2.0**-index, 2.0 ** (-index - 8)] for index, phase in enumerate(TRAINING_PHASES)}
    seconds, _ = time_phases(ScriptedStep(clock.advance, script), clock, 4)
    assert seconds == {phase: [*values, *values] for phase, values in script.items()}


def test_an_inference_has_the_one_phase_forward() -> None:
    clock = FakeClock()
    step = ScriptedStep(clock.advance, {Phase.FORWARD: 0.25})
    seconds, host_seconds = time_phases(step, clock, 3)
    assert seconds == {Phase.FORWARD: [0.25] * 3}
    assert host_seconds == {Phase.FORWARD: []}
    assert step.ran == [Phase.FORWARD] * 3


def test_outputs_and_loss_end_before_the_last_mark_of_their_step() -> None:
    class Value:
        pass

    alive: list[weakref.ref[Value]] = []
    alive_at_marks: list[int] = []

    class Clock(FakeClock):
        def mark(self) -> None:
            alive_at_marks.append(sum(reference() is not None for reference in alive))
            super().mark()

    class Step(ScriptedStep):
        def forward(self) -> Value:
            value = Value()
            alive.append(weakref.ref(value))
            return value

        def compute_loss(self, outputs: Value) -> Value:
            return self.forward()

    time_phases(Step(lambda _: None, SECONDS), Clock(), 2)
    assert alive_at_marks == [1, 2, 2, 0] * 2


@pytest.mark.parametrize("was_enabled", [True, False])
def test_the_collector_is_off_inside_and_afterwards_as_it_was(was_enabled: bool) -> None:
    enable = gc.enable if was_enabled else gc.disable
    enable()
    try:
        with pytest.raises(RuntimeError), without_garbage_collection():
            assert not gc.isenabled()
            raise RuntimeError
        assert gc.isenabled() is was_enabled
    finally:
        gc.enable()


def test_garbage_is_collected_before_the_block() -> None:
    class Cycle:
        def __init__(self) -> None:
            self.me = self

    gc.disable()
    try:
        reference = weakref.ref(Cycle())
        assert reference() is not None
        with without_garbage_collection():
            assert reference() is None
    finally:
        gc.enable()


class Empty:
    """A step that does nothing, in any phase."""

    is_training = True

    def __call__(self) -> None: ...
    def forward(self) -> None: ...
    def compute_loss(self, _: object) -> None: ...
    def backward(self, _: object) -> None: ...
    def optimize(self) -> None: ...


def calls_of(timed: Callable[[], object]) -> str:
    """Name every call that is made meanwhile, of Python and of C."""
    calls: list[str] = []

    def note(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            calls.append(frame.f_code.co_name)
        elif event == "c_call":
            calls.append(argument.__name__)

    sys.setprofile(note)
    try:
        timed()
    finally:
        sys.setprofile(None)
    return " ".join(calls)


MARK = {"host": "mark perf_counter_ns append", "device": "mark pop mark record append perf_counter_ns append"}


@pytest.mark.parametrize("clock", ["host", "device"])
def test_a_timed_step_is_the_step_and_one_mark(clock: str) -> None:
    """What stands between two marks is paid by every measurement: a call more there needs its cost measured."""
    step: Any = Empty()
    mark = MARK[clock]

    def used() -> Clock:
        if clock == "host":
            return HostClock()
        found = DeviceClock(Quiet())  # type: ignore[arg-type]
        found._used = [Quiet() for _ in range(20)]
        return found

    whole = calls_of(partial(time_steps, step, used(), 3))
    assert f" {mark} {' '.join(f'__call__ {mark}' for _ in range(3))} collect " in whole
    phases = " ".join(f"{name} {mark}" for name in ("forward", "compute_loss", "backward", "optimize"))
    assert f" {mark} {phases} {phases} collect " in calls_of(partial(time_phases, step, used(), 2))


class Quiet:
    """A backend, and an event of it, that do nothing."""

    def opened(self) -> contextlib.AbstractContextManager[bool]:
        return contextlib.nullcontext(True)

    def synchronize(self) -> None: ...
    def glance(self) -> None: ...
    def record(self) -> None: ...

    def mark(self, event: Any) -> Any:
        event.record()
        return event

    def seconds_between(self, *_: Any) -> float:
        return 0.0
