import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bench.stats.shift import estimate_shift, hodges_lehmann, signed_rank_counts, walsh_averages, walsh_rank

from .simulate import repeatable

shifts = st.lists(st.floats(-1e3, 1e3).map(lambda x: round(x, 6)), min_size=1, max_size=14)


def test_the_shift_is_the_median_of_all_pair_means():
    xs = [0.3, -1.2, 0.8, 2.5, 0.1]
    pairs = [(a + b) / 2 for a, b in itertools.combinations_with_replacement(xs, 2)]
    assert hodges_lehmann(xs) == pytest.approx(np.median(pairs))
    assert len(walsh_averages(xs)) == 15


def test_signed_rank_counts_are_those_of_all_sign_patterns():
    n = 8
    sums = [
        sum(r for r, s in zip(range(1, n + 1), signs, strict=True) if s)
        for signs in itertools.product([0, 1], repeat=n)
    ]
    assert signed_rank_counts(n).tolist() == np.bincount(sums, minlength=n * (n + 1) // 2 + 1).tolist()


@pytest.mark.parametrize("n", [5, 6, 8, 9, 14, 20, 30])
def test_the_walsh_rank_is_the_published_critical_value(n):
    # scipy's exact Wilcoxon p-value at rank sum c - 1 is at most 5 %, at c more
    rank = walsh_rank(n, 0.95)
    cumulated = np.cumsum(signed_rank_counts(n)) / 2.0**n
    if rank is None:
        assert 2 * cumulated[0] > 0.05
    else:
        assert 2 * cumulated[rank - 1] <= 0.05 < 2 * cumulated[rank]


@pytest.mark.parametrize(("n", "rank"), [(5, None), (6, 1), (7, 3), (8, 4), (9, 6), (10, 9), (15, 26), (20, 53)])
def test_the_walsh_rank_agrees_with_tables(n, rank):
    # Wilcoxon's table (two-sided 5 %): critical W 0, 2, 3, 5, 8, 25, 52 for n = 6 to 10, 15, 20; the rank is one more
    assert walsh_rank(n, 0.95) == rank


@pytest.mark.parametrize("n", [6, 8, 11, 14])
def test_the_interval_holds_what_wilcoxon_does_not_reject(n):
    xs = np.random.default_rng(n).normal(0.3, 1.0, n)
    estimate = estimate_shift(xs)
    for inside in (estimate.low + 1e-9, estimate.high - 1e-9):
        assert stats.wilcoxon(xs - inside, mode="exact").pvalue > 0.05
    for outside in (estimate.low - 1e-9, estimate.high + 1e-9):
        assert stats.wilcoxon(xs - outside, mode="exact").pvalue <= 0.05


def test_the_depression_data_of_hollander_and_wolfe():
    # Example 3.1: Hamilton scores before and after; estimate and interval as the book and R's wilcox.test give them
    before = [1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30]
    after = [0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29]
    estimate = estimate_shift(np.subtract(after, before))
    assert estimate.point == pytest.approx(-0.46, abs=6e-4)
    assert (estimate.low, estimate.high) == pytest.approx((-0.786, -0.010), abs=6e-4)


def test_the_interval_covers_as_promised():
    xs = np.random.default_rng(0).standard_normal((1500, 8))
    hits = [e.low <= 0 <= e.high for e in map(estimate_shift, xs)]
    assert 0.945 <= np.mean(hits) <= 0.975  # exact: 1 - 2 * 5 / 256 = 0.961


def test_many_values_use_the_normal_approximation_within_one_rank():
    counts = np.cumsum(signed_rank_counts(51)) / 2.0**51
    assert abs(walsh_rank(51, 0.95) - np.searchsorted(counts, 0.025)) <= 1


def test_one_wild_session_hardly_moves_the_shift():
    assert hodges_lehmann([0.05, 0.049, 0.051, 0.05, 0.052, 9.0]) == pytest.approx(0.05, abs=0.005)


@pytest.mark.parametrize("bad", [[], [math.nan], [0.1, math.inf]])
def test_bad_shifts_are_refused(bad):
    for function in (hodges_lehmann, estimate_shift):
        with pytest.raises(ValueError, match=r"no values|finite"):
            function(bad)


def test_five_sessions_have_no_95_percent_interval():
    estimate = estimate_shift([0.1, 0.2, 0.3, 0.4, 0.5])
    assert (estimate.point, estimate.low, estimate.high) == (pytest.approx(0.3), None, None)


@repeatable
@given(shifts)
def test_swapping_the_arms_mirrors_the_shift_and_its_interval(xs):
    plain, mirrored = estimate_shift(xs), estimate_shift([-x for x in xs])
    assert mirrored.point == pytest.approx(-plain.point, abs=1e-9)
    if plain.low is not None:
        assert (mirrored.low, mirrored.high) == pytest.approx((-plain.high, -plain.low), abs=1e-9)


@repeatable
@given(shifts, st.floats(0.01, 100), st.floats(-10, 10))
def test_the_shift_moves_and_scales_with_its_values(xs, scale, move):
    assert hodges_lehmann([scale * x + move for x in xs]) == pytest.approx(scale * hodges_lehmann(xs) + move, abs=1e-6)


@repeatable
@given(shifts, st.randoms(use_true_random=False))
def test_the_order_of_sessions_does_not_matter(xs, random):
    shuffled = list(xs)
    random.shuffle(shuffled)
    assert estimate_shift(shuffled) == estimate_shift(xs)
