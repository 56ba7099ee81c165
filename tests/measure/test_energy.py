from __future__ import annotations

import pytest

from bench.core.record import EnergyWindow
from bench.measure.energy import WARMUP_SECONDS, measure_energy, measure_idle
from bench.stats.stopping import STARTING_STEPS
from tests.fakes.clock import FakeClock


class FakeMeter:
    """Counts watts times the clock's seconds; its counter moves every so many seconds."""

    method = "fake"

    def __init__(self, clock: FakeClock, watts: float, *, moves: float = 0.0, tells: float | None = None) -> None:
        self._clock, self._watts, self._moves, self._tells = clock, watts, moves, tells

    def read(self) -> tuple[float, ...]:
        now = self._clock.now
        return ((now // self._moves * self._moves if self._moves else now) * self._watts,)

    def watts(self) -> float | None:
        return self._tells

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


def measured(clock: FakeClock, meter: FakeMeter, seconds: float) -> EnergyWindow:
    return measure_energy(lambda: clock.advance(0.01), "cpu", meter, seconds, now=lambda: clock.now)  # type: ignore[arg-type, return-value]


def test_a_counter_that_moves_seldom_is_read_at_its_edges() -> None:
    clock = FakeClock()
    window = measured(clock, FakeMeter(clock, 400.0, moves=0.5), 2.2)  # a plain difference errs by up to 23 %
    assert window.average_watts == pytest.approx(400.0, rel=0.02)
    assert window.joules_per_step == pytest.approx(4.0, rel=0.02)


def test_a_window_shorter_than_the_counter_adds_up_samples_of_power() -> None:
    clock = FakeClock()
    window = measured(clock, FakeMeter(clock, 400.0, moves=0.5, tells=390.0), 0.2)
    assert window.average_watts == pytest.approx(390.0)
    assert "samples of power" in window.method


@pytest.mark.parametrize(("costs", "share"), [(0.0001, 0.03), (0.002, 0.1)])
def test_a_driver_that_answers_slowly_is_asked_less_often(costs: float, share: float) -> None:
    """While the host waits for an answer it launches nothing."""
    clock, answers = FakeClock(), 0

    class Slow(FakeMeter):
        def read(self) -> tuple[float, ...]:
            nonlocal answers
            answers += 1
            clock.advance(2 * costs)  # and once more for the power
            return super().read()

    def step() -> None:
        clock.advance(0.001)

    meter = Slow(clock, 400.0, moves=0.1)
    window = measure_energy(step, "cpu", meter, 3.0, now=lambda: clock.now)  # type: ignore[arg-type, return-value]
    assert 2 * costs * answers < share * window.window_seconds
    assert answers > 40
    assert window.average_watts == pytest.approx(400.0, rel=0.03)


@pytest.mark.parametrize(("tells", "idle"), [(70.0, 70.0), (None, 60.0)])
def test_idle_watts_are_told_or_follow_from_the_counter(tells: float | None, idle: float) -> None:
    clock = FakeClock()
    assert measure_idle(FakeMeter(clock, 60.0, tells=tells), clock.advance) == pytest.approx(idle)  # type: ignore[arg-type]


def test_a_meter_that_stands_still_tells_no_idle_watts() -> None:
    clock = FakeClock()
    assert measure_idle(FakeMeter(clock, 0.0), clock.advance) is None  # type: ignore[arg-type]


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
