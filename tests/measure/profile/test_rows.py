from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.core.record import Phase
from bench.measure.profile.rows import EVENT_SECONDS_LIMIT, KEPT_SHARE, layer_rows, middle_half, without_overhead
from bench.measure.profile.times import StepTime

SECONDS = st.dictionaries(st.sampled_from("abcdef"), st.floats(1e-6, 1.0), min_size=1)


@given(SECONDS, st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 50)), st.floats(1e-5, 10.0))
def test_rows_always_sum_to_the_plain_step_and_none_is_negative(seconds, events, step) -> None:
    rows = without_overhead(seconds, events, step)
    assert sum(rows.values()) == pytest.approx(step)
    assert all(value >= 0 for value in rows.values())
    assert set(rows) == set(seconds)


@given(SECONDS, st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 50)), st.floats(1e-5, 10.0))
def test_no_row_loses_more_than_half_of_its_share(seconds, events, step) -> None:
    rows = without_overhead(seconds, events, step)
    seen = sum(seconds.values())
    for key, value in rows.items():
        assert value / step >= KEPT_SHARE * seconds[key] / seen * (1 - 1e-9)


def test_a_row_full_of_events_keeps_half() -> None:
    """30 µs too many at 12 events are 2.5 µs each: 20 µs of the 10 µs that were seen in the short one."""
    rows = without_overhead({"long": 100e-6, "short": 10e-6}, {"long": 4, "short": 8}, 80e-6)
    assert rows == pytest.approx({"long": 90e-6 * 80 / 95, "short": 5e-6 * 80 / 95})


def test_what_the_profiler_cost_is_taken_from_where_its_events_are() -> None:
    rows = without_overhead({"many": 20e-6, "one": 80e-6}, {"many": 9, "one": 1}, 90e-6)
    assert rows == pytest.approx({"many": 11e-6, "one": 79e-6})


def test_more_than_events_can_cost_is_noise_and_shared_in_proportion() -> None:
    rows = without_overhead({"many": 0.5, "one": 1.5}, {"many": 10, "one": 0}, 1.0)
    assert rows["many"] / rows["one"] == pytest.approx((0.5 - 10 * EVENT_SECONDS_LIMIT) / 1.5)


def test_on_a_device_only_the_idle_row_gives_way() -> None:
    rows = without_overhead({"kernel": 0.6, "idle": 0.5}, {"kernel": 3}, 0.8, idle=["idle"])
    assert rows == pytest.approx({"kernel": 0.6, "idle": 0.2})
    busy = without_overhead({"kernel": 0.9, "idle": 0.1}, {}, 0.8, idle=["idle"])
    assert sum(busy.values()) == pytest.approx(0.8)


def test_disturbed_and_lucky_steps_are_left_out() -> None:
    steps = [StepTime(nanoseconds=n, layers=Counter()) for n in (900, 100, 1, 104, 102, 103, 101, 800)]
    assert [step.nanoseconds for step in middle_half(steps)] == [101, 102, 103, 104]
    assert len(middle_half(steps[:3])) == 3


def test_rows_sum_to_each_phase_as_it_is_without_the_profiler() -> None:
    """The profiler doubles forward, which has all the events, and leaves backward alone."""
    forward, backward = (Phase.FORWARD, "a"), (Phase.BACKWARD, "a")
    step = StepTime(
        nanoseconds=40_000,
        layers=Counter({forward: 20_000, backward: 20_000}),
        layer_events=Counter({forward: 10, backward: 10}),
    )
    plain = {Phase.FORWARD: 11e-6, Phase.BACKWARD: 22e-6, Phase.LOSS: 1e-6}
    (row,) = layer_rows([step], None, 30e-6, plain, (), None)
    assert row.seconds_in(Phase.FORWARD) == pytest.approx(10e-6)
    assert row.seconds_in(Phase.BACKWARD) == pytest.approx(20e-6)


def test_every_layer_that_ran_in_backward_keeps_time_there() -> None:
    """A small model: the later layers are a few short operations each, and the phase is twice as long as without."""
    first, second, engine = ((Phase.BACKWARD, name) for name in ("layers.0", "layers.1", "(autograd)"))
    step = StepTime(
        nanoseconds=100_000,
        layers=Counter({first: 60_000, second: 10_000, engine: 30_000}),
        layer_events=Counter({first: 8, second: 8, engine: 9}),
    )
    rows = layer_rows([step], None, 50e-6, {Phase.BACKWARD: 50e-6}, (), None)
    seconds = {row.name: row.seconds for row in rows}
    # 2 µs per event would leave 44, -6 and 12 µs; the last two keep half of what was seen
    assert seconds == pytest.approx(
        {"layers.0": 44e-6 * 50 / 64, "layers.1": 5e-6 * 50 / 64, "(autograd)": 15e-6 * 50 / 64}
    )
    assert sum(seconds.values()) == pytest.approx(50e-6)
