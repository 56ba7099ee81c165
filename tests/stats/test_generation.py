from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

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
