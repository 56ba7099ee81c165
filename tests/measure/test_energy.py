from __future__ import annotations

import pytest

from bench.measure.energy import WARMUP_SECONDS, measure_energy
from bench.stats.stopping import STARTING_STEPS
from tests.fakes.clock import FakeClock


class FakeMeter:
    """Counts watts times the clock's seconds."""

    method = "fake"

    def __init__(self, clock: FakeClock, watts: float) -> None:
        self._clock, self._watts = clock, watts

    def read(self) -> tuple[float, ...]:
        return (self._clock.now * self._watts,)

    def between(self, before: tuple[float, ...], after: tuple[float, ...]) -> float:
        return after[0] - before[0]


def test_energy_is_power_times_time_and_the_warm_up_does_not_count() -> None:
    clock = FakeClock()
    ran: list[float] = []

    def step() -> None:
        clock.advance(0.25)
        ran.append(clock.now)

    window = measure_energy(step, "cpu", FakeMeter(clock, 40.0), 2.0, now=lambda: clock.now)  # type: ignore[arg-type]
    assert window.steps == 8
    assert window.joules_per_step == pytest.approx(10.0)
    assert window.average_watts == pytest.approx(40.0)
    assert window.window_seconds == pytest.approx(2.0)
    assert len(ran) == 8 + STARTING_STEPS + WARMUP_SECONDS / 0.25
    assert window.reason is None


def test_a_step_longer_than_the_window_is_measured_once() -> None:
    clock = FakeClock()
    window = measure_energy(
        lambda: clock.advance(9.0),  # type: ignore[arg-type, return-value]
        "cpu",
        FakeMeter(clock, 2.0),
        1.0,
        now=lambda: clock.now,
    )
    assert (window.steps, window.joules_per_step) == (1, pytest.approx(18.0))
