import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.core.estimate import Estimate
from bench.stats.estimate import (
    estimate_median,
    estimate_median_of_processes,
    quantile,
    relative_dispersion,
)

from .simulate import ar1, repeatable

seconds = st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=60)


def misses(phi, n, repeats, seed=0):
    """Count intervals that miss the true median 1, and those that are not given, in lognormal AR(1) noise."""
    rng = np.random.default_rng(seed)
    estimates = [estimate_median(np.exp(0.02 * x).tolist()) for x in ar1(rng, (repeats, n), phi)]
    missed = sum(e.low is not None and not e.low <= 1 <= e.high for e in estimates)
    return missed / repeats, sum(e.low is None for e in estimates) / repeats


# 400 series each: three standard errors of a 5 % rate are 3.3 %.
@pytest.mark.parametrize(("phi", "n"), [(0.0, 20), (0.0, 150), (0.5, 50), (0.5, 150), (0.8, 150), (0.9, 500)])
def test_a_95_percent_interval_covers_in_95_percent_under_ar1_noise(phi, n):
    missed, without = misses(phi, n, 400)
    assert missed / (1 - without) <= 0.075


@pytest.mark.parametrize("phi", [0.5, 0.8, 0.9])
@pytest.mark.parametrize("n", [10, 20, 50])
def test_a_short_correlated_series_gets_no_interval(phi, n):
    missed, _ = misses(phi, n, 300)
    assert missed <= 0.10


def test_ignoring_the_autocorrelation_would_miss_far_more(monkeypatch):
    monkeypatch.setattr("bench.stats.estimate.effective_n", len)
    missed, _ = misses(0.8, 150, 300)
    assert missed > 0.30


def test_independent_values_get_the_textbook_order_statistics(monkeypatch):
    monkeypatch.setattr("bench.stats.estimate.effective_n", len)
    values = np.random.default_rng(0).permutation(np.arange(1.0, 21.0))
    estimate = estimate_median(values.tolist())
    assert (estimate.low, estimate.high) == pytest.approx((6.0, 15.0))  # n = 20: ranks 6 and 15 cover 95.9 %


def test_five_values_are_too_few_for_an_interval():
    estimate = estimate_median([1.0, 2.0, 1.5, 1.2, 1.1])
    assert (estimate.point, estimate.low, estimate.high, estimate.half_width) == (1.2, None, None, None)


def test_zeros_have_the_median_zero():
    estimate = estimate_median([0.0] * 30)
    assert (estimate.point, estimate.low, estimate.high) == (0.0, 0.0, 0.0)


def test_constants_have_an_interval_without_width():
    estimate = estimate_median([0.3] * 30)
    assert (estimate.low, estimate.point, estimate.high, estimate.n_effective) == (0.3, 0.3, 0.3, 30)


def test_a_drifting_series_has_no_interval():
    assert estimate_median([float(i) for i in range(1, 100)]).low is None


def test_one_outlier_moves_neither_the_point_nor_the_effective_n_much():
    values = np.exp(0.02 * ar1(np.random.default_rng(3), (200,), 0.8)).tolist()
    spoiled = [*values[:100], 1e6, *values[101:]]
    assert estimate_median(spoiled).point == pytest.approx(estimate_median(values).point, rel=0.01)
    assert estimate_median(spoiled).n_effective == pytest.approx(estimate_median(values).n_effective, rel=0.3)


@pytest.mark.parametrize("bad", [[], [1.0, math.nan], [1.0, math.inf], [-1.0]])
def test_bad_seconds_are_refused(bad):
    with pytest.raises(ValueError, match=r"no values|finite|negative"):
        estimate_median(bad)


@repeatable
@given(seconds, st.integers(-10, 10))
def test_the_estimate_scales_with_its_values(xs, power):
    scale = 2.0**power  # exact, so that ties stay ties
    plain, scaled = estimate_median(xs), estimate_median([scale * x for x in xs])
    assert scaled.point == pytest.approx(scale * plain.point)
    assert (scaled.low is None) == (plain.low is None)
    if plain.low is not None:
        assert (scaled.low, scaled.high) == pytest.approx((scale * plain.low, scale * plain.high))


@repeatable
@given(seconds)
def test_the_interval_holds_the_point_and_lies_within_the_values(xs):
    estimate = estimate_median(xs)
    if estimate.low is not None:
        assert min(xs) <= estimate.low <= estimate.point <= estimate.high <= max(xs)


@repeatable
@given(seconds, st.randoms(use_true_random=False))
def test_the_point_does_not_depend_on_the_order(xs, random):
    shuffled = list(xs)
    random.shuffle(shuffled)
    assert estimate_median(shuffled).point == estimate_median(xs).point


def between_processes(estimate, repeats=400):
    """Share of 4 processes' intervals that miss the speed 1 of the average process; processes differ by 2 %."""
    rng = np.random.default_rng(4)
    noise = np.exp(0.02 * ar1(rng, (repeats, 4, 40), 0.5) + rng.normal(0, 0.02, (repeats, 4, 1)))
    return np.mean([not e.low <= 1 <= e.high for e in (estimate(x.tolist()) for x in noise)])


def test_the_interval_over_processes_covers_the_next_process_mean():
    assert between_processes(estimate_median_of_processes) <= 0.075


def test_the_interval_of_one_process_would_miss_it_far_more():
    rng = np.random.default_rng(4)
    noise = np.exp(0.02 * ar1(rng, (400, 150), 0.5) + rng.normal(0, 0.02, (400, 1)))
    assert np.mean([not e.low <= 1 <= e.high for e in (estimate_median(x.tolist()) for x in noise)]) > 0.40


def test_three_processes_agree_with_students_t_by_hand():
    # medians 1, 2, 4: logs 0, ln 2, 2 ln 2; mean ln 2, standard error ln 2 / sqrt 3, t = 4.302653
    estimate = estimate_median_of_processes([[1.0], [2.0], [4.0]])
    reach = 4.302653 * math.log(2) / math.sqrt(3)
    assert (estimate.point, estimate.low, estimate.high) == pytest.approx(
        (2, 2 * math.exp(-reach), 2 * math.exp(reach))
    )
    assert (estimate.n, estimate.n_effective) == (3, 3.0)


def test_two_processes_have_a_point_and_no_interval():
    estimate = estimate_median_of_processes([[1.0] * 9, [2.0] * 9])
    assert (estimate.point, estimate.low, estimate.high) == (1.5, None, None)


def test_one_process_says_that_it_is_alone():
    values = np.random.default_rng(5).lognormal(size=50).tolist()
    assert estimate_median_of_processes([values]) == estimate_median(values)


def test_a_process_without_values_is_refused():
    with pytest.raises(ValueError, match="every process"):
        estimate_median_of_processes([[1.0], []])
    with pytest.raises(ValueError, match="every process"):
        estimate_median_of_processes([])


def test_processes_of_zero_seconds_have_no_interval():
    assert estimate_median_of_processes([[0.0], [0.0], [1.0]]).low is None


def test_quantiles_agree_with_numpy():
    xs = np.random.default_rng(6).random(31).tolist()
    assert quantile(xs, 0.37) == pytest.approx(np.quantile(xs, 0.37))
    assert (quantile(xs, 0.1), quantile(xs, 0.9)) == pytest.approx((np.quantile(xs, 0.1), np.quantile(xs, 0.9)))


@pytest.mark.parametrize(("xs", "p"), [([], 0.5), ([1.0], 1.1), ([1.0], math.nan)])
def test_a_quantile_that_makes_no_sense_is_refused(xs, p):
    with pytest.raises(ValueError, match=r"no values|0..1"):
        quantile(xs, p)


def test_relative_dispersion_is_iqr_over_median():
    assert relative_dispersion([1.0, 2.0, 3.0, 4.0, 5.0]) == pytest.approx(2 / 3)
    assert relative_dispersion([2.0] * 8) == 0.0
    assert relative_dispersion([1.0, 2.0, 3.0]) is None
    assert relative_dispersion([0.0] * 8) is None


def test_half_widths_are_absolute_and_relative() -> None:
    estimate = Estimate(point=2.0, low=1.9, high=2.3, confidence=0.95, n=9, n_effective=9.0, method="test")
    assert estimate.half_width == pytest.approx(0.2)
    assert estimate.relative_half_width == pytest.approx(0.1)
    assert replace(estimate, low=None).half_width is None
    assert replace(estimate, point=0.0).relative_half_width is None
