import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bench.stats.changepoint import FEWEST, predict_next

from .simulate import ar1, repeatable


def missed(phi, n, repeats=1500, confidence=0.99, shift=0.0, seed=0):
    """Share of series whose next value lies outside of its interval."""
    series = ar1(np.random.default_rng(seed), (repeats, n + 1), phi)
    predictions = [predict_next(x[:-1], confidence=confidence) for x in series]
    return np.mean([not p.holds(x[-1] + shift) for p, x in zip(predictions, series, strict=True)])


# 1500 series each: at 1 % the standard error is 0.26 %
@pytest.mark.parametrize("phi", [0.0, 0.5, 0.8])
@pytest.mark.parametrize("n", [10, 30, 100])
def test_about_one_in_a_hundred_null_series_is_missed_at_99_percent(phi, n):
    assert missed(phi, n) <= 0.03


def test_the_interval_is_not_wider_than_it_must_be():
    assert 0.03 <= missed(0.0, 50, confidence=0.95) <= 0.07
    assert 0.03 <= missed(0.7, 100, confidence=0.95) <= 0.07


def test_the_interval_mostly_misses_a_jump_of_four_deviations():
    assert missed(0.0, 30, shift=4.0, repeats=300) >= 0.80
    assert missed(0.8, 60, shift=4.0, repeats=300) >= 0.95  # within a mood a jump stands out more


def test_without_correlation_it_is_nearly_the_textbook_interval():
    # Student's prediction interval of one more value; ours spends one degree of freedom and a little width on phi
    x = np.random.default_rng(3).normal(10.0, 2.0, 200)
    x -= np.linspace(0, 1e-9, 200)
    found = predict_next(x, confidence=0.95)
    half = stats.t.ppf(0.975, 199) * x.std(ddof=1) * math.sqrt(1 + 1 / 200)
    assert found.level == pytest.approx(x.mean())
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.03)


def test_the_next_value_is_expected_between_level_and_last():
    x = ar1(np.random.default_rng(4), (400,), 0.9)
    x[-1] = x.mean() + 3.0
    found = predict_next(x)
    assert found.phi == pytest.approx(0.9, abs=0.07)
    assert found.level + 1.5 < found.point < x[-1]


def test_a_constant_past_predicts_exactly_itself():
    found = predict_next([2.0] * 20)
    assert (found.low, found.point, found.high, found.phi) == (2.0, 2.0, 2.0, 0.0)


def test_too_few_values_predict_nothing():
    assert predict_next([1.0] * (FEWEST - 1)) is None
    assert predict_next([1.0, 2.0] * (FEWEST // 2)) is not None


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_bad_values_are_refused(bad):
    with pytest.raises(ValueError, match="finite"):
        predict_next([1.0] * 9 + [bad])
    with pytest.raises(ValueError, match="confidence"):
        predict_next([1.0] * 9, confidence=1.0)


@repeatable
@given(st.lists(st.floats(-1e3, 1e3), min_size=FEWEST, max_size=40), st.floats(-1e3, 1e3), st.floats(0.01, 100))
def test_it_moves_and_scales_with_its_values(xs, move, scale):
    plain, moved = predict_next(xs), predict_next([move + scale * x for x in xs])
    size = 1e-6 * (abs(move) + scale * max(map(abs, xs)) + 1)
    assert moved.point == pytest.approx(move + scale * plain.point, abs=size * 100)
    assert plain.low <= plain.point <= plain.high
