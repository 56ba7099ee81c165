from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from bench.core.generation import Generation, joined
from bench.stats.generation import summarise_generation
from tests.scenario_cases import FAILED_GENERATION, make_generation


def test_rates_and_latencies_follow_from_the_raw_times() -> None:
    summary = summarise_generation(make_generation(batch_size=4, prompt=32))
    assert summary.first_token is not None
    assert summary.token is not None
    assert summary.first_token.point == 0.020
    assert summary.prefill_tokens_per_second == pytest.approx(4 * 32 / 0.020)
    assert summary.token.point == pytest.approx(1e-3 + 36.5e-6, rel=1e-3)  # places 32 to 41
    assert summary.decode_tokens_per_second == pytest.approx(4 / summary.token.point)
    assert summary.decode_flops_per_second == pytest.approx(1_350_000 * 4 / summary.token.point)


def of_three_processes(speeds: tuple[float, float, float]) -> Generation:
    """Measure eight generations in each of three processes, each of its own speed."""
    one = make_generation()
    assert one.times is not None
    times = [
        replace(
            one.times,
            first_token_seconds=tuple(speed * second for second in one.times.first_token_seconds),
            token_seconds=tuple(tuple(speed * second for second in text) for text in one.times.token_seconds),
        )
        for speed in speeds
    ]
    return replace(one, times=joined(times))


def test_intervals_of_several_processes_include_their_spread() -> None:
    apart, alike = (summarise_generation(of_three_processes(speeds)) for speeds in ((0.9, 1.0, 1.1), (1.0, 1.0, 1.0)))
    for name in ("first_token", "token"):
        wide, narrow = (getattr(summary, name) for summary in (apart, alike))
        assert wide.half_width > 0.2 * wide.point > 5 * narrow.half_width
        assert (wide.n_effective, narrow.n_effective) == (3, 3)
    single = make_generation()
    assert single.times is not None
    assert joined([single.times]) == single.times


@pytest.mark.parametrize("processes", [(8, 8), (8, 0), (9, -1)])
def test_processes_that_do_not_add_up_are_taken_for_one(processes: tuple[int, ...]) -> None:
    one = make_generation()
    assert one.times is not None
    damaged = replace(one, times=replace(one.times, processes=processes))
    assert summarise_generation(damaged) == summarise_generation(one)


def test_the_cost_of_context_is_the_slope_over_the_tokens_before() -> None:
    growth = summarise_generation(make_generation(prompt=32)).growth
    assert growth is not None
    slopes = np.array([1e-6 * (1 + 0.02 * (repeat - 3.5)) for repeat in range(8)])
    interval = stats.t.interval(0.95, 7, slopes.mean(), stats.sem(slopes))
    assert growth.slope == pytest.approx(1e-6)
    assert growth.slope + growth.half_width == pytest.approx(interval[1], rel=1e-6)
    assert summarise_generation(make_generation(repeats=2)).growth is None


def test_without_a_cache_the_flops_of_one_token_say_nothing_about_the_rate() -> None:
    assert summarise_generation(make_generation(uses_cache=False)).decode_flops_per_second is None


def test_what_was_not_measured_is_none() -> None:
    summary = summarise_generation(FAILED_GENERATION)
    assert summary.first_token is summary.token is summary.growth is summary.decode_tokens_per_second is None
    one = make_generation()
    assert one.times is not None
    single = replace(one, times=replace(one.times, token_seconds=((),) * 8))
    assert summarise_generation(single).token is None
    assert summarise_generation(single).first_token is not None
