from __future__ import annotations

from dataclasses import replace

import pytest

from bench.core.generation import joined
from bench.stats.generation import lines_over_steps, summarise_sampling
from tests.scenario_cases import make_sampled


def test_an_image_is_its_share_of_text_and_all_steps() -> None:
    summary = summarise_sampling(make_sampled(5))
    assert summary.image is not None
    assert summary.step is not None
    assert summary.image.point == pytest.approx((0.002 + 5 * 0.010) / 2)
    assert summary.step.point == 0.010
    assert summary.images_per_second == pytest.approx(2 / 0.052)
    assert summary.flops_per_second == pytest.approx(82e6 / 0.010)
    assert summary.decode is None


def test_the_interval_of_an_image_includes_the_spread_of_processes() -> None:
    one = make_sampled(5)
    assert one.times is not None
    times = [
        replace(one.times, step_seconds=tuple(tuple(speed * s for s in steps) for steps in one.times.step_seconds))
        for speed in (0.9, 1.0, 1.1)
    ]
    summary = summarise_sampling(replace(one, times=joined(times)))
    assert summary.image is not None and summary.step is not None
    assert summary.step.n_effective == summary.image.n_effective == 3
    assert summary.step.half_width is not None and summary.step.half_width > 0.001


def test_the_line_over_steps_splits_fixed_cost_and_cost_per_step() -> None:
    ((case, line),) = lines_over_steps([make_sampled(2), make_sampled(5), make_sampled(5, guidance=3.0)])
    assert case.guidance == 1.0
    assert (line.intercept, line.slope) == pytest.approx((0.002, 0.010))
    assert line.n == 16
