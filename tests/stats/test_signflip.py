import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bench.stats import signflip
from bench.stats.signflip import flip_sums, median_interval, sign_flip_p, sign_p

from .simulate import repeatable

shifts = st.lists(st.integers(-50, 50).map(lambda x: x / 1000), min_size=1, max_size=8)


def clipped(xs):
    limit = signflip.CLIP * np.median(np.abs(xs)) or math.inf
    return [max(-limit, min(limit, x)) for x in xs]


@pytest.mark.parametrize("sessions", [2, 5, 8, 11])
def test_one_benchmark_agrees_with_scipys_exact_permutation_test(sessions):
    xs = np.random.default_rng(sessions).normal(0.02, 0.03, sessions)
    for faster, alternative in ((False, "greater"), (True, "less")):
        reference = stats.permutation_test(
            (clipped(xs),), np.mean, permutation_type="samples", n_resamples=np.inf, alternative=alternative
        )
        assert sign_flip_p(xs.tolist(), faster=faster) == pytest.approx(reference.pvalue)


def test_the_smallest_p_is_two_to_the_minus_k():
    assert sign_flip_p([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]) == 1 / 64


def test_one_wild_session_of_eight_does_not_hide_a_slowdown():
    # seen live: seven sessions at +5 %, one at -14 %; on the mean p would be 0.12
    xs = [0.051, 0.048, 0.055, 0.049, -0.14, 0.052, 0.047, 0.05]
    assert sign_flip_p(xs) <= 0.05
    assert sign_flip_p(xs) == sign_flip_p([-9.0 if x < 0 else x for x in xs])  # how wild does not matter


def test_a_benchmark_of_mostly_zeros_is_not_clipped_to_nothing():
    assert sign_flip_p([0.0, 0.0, 0.0, 0.3, 0.2]) == 1 / 4


def test_equal_shifts_reach_the_smallest_p_although_rounding_differs():
    assert sign_flip_p([0.1] * 7) == 1 / 128
    assert sign_flip_p([0.1, 0.2, 0.3, 0.3]) == 1 / 16


def test_zero_shifts_have_p_one_in_both_directions():
    assert sign_flip_p([0.0] * 6) == sign_flip_p([0.0] * 6, faster=True) == 1.0


def test_above_eighteen_sessions_seeded_draws_stand_in(monkeypatch):
    xs = np.random.default_rng(0).normal(0.01, 0.03, 16).tolist()
    exact = sign_flip_p(xs)
    monkeypatch.setattr(signflip, "EXACT_LIMIT", 10)
    assert sign_flip_p(xs, seed=1) == sign_flip_p(xs, seed=1) != sign_flip_p(xs, seed=2)
    assert sign_flip_p(xs) == pytest.approx(exact, abs=5 * math.sqrt(exact * (1 - exact) / signflip.DRAWS))


def test_drawn_p_values_are_never_zero():
    assert sign_flip_p([0.1] * 40) == 1 / (signflip.DRAWS + 1)


@pytest.mark.parametrize("bad", [[], [math.nan] * 3, [math.inf, 0.1]])
def test_bad_shifts_are_refused(bad):
    with pytest.raises(ValueError, match=r"no sessions|finite"):
        sign_flip_p(bad)


@repeatable
@given(shifts)
def test_swapping_the_arms_swaps_the_tests(xs):
    assert sign_flip_p([-x for x in xs]) == sign_flip_p(xs, faster=True)


@repeatable
@given(shifts, st.floats(1e-250, 1e250))
def test_the_unit_does_not_matter(xs, scale):
    assert sign_flip_p([x * scale for x in xs]) == sign_flip_p(xs)


@repeatable
@given(shifts, st.randoms(use_true_random=False))
def test_the_order_of_sessions_does_not_matter(xs, random):
    shuffled = list(xs)
    random.shuffle(shuffled)
    assert sign_flip_p(shuffled) == sign_flip_p(xs)


def test_the_sums_flip_bit_by_bit():
    assert flip_sums(np.array([[1.0, 2.0]])).tolist() == [[3.0, 1.0, -1.0, -3.0]]


@pytest.mark.parametrize(("above", "sessions"), [(8, 8), (7, 8), (5, 9), (0, 4)])
def test_signs_agree_with_scipys_binomial_test(above, sessions):
    values = [1.0] * above + [-1.0] * (sessions - above)
    assert sign_p(values, 0.0) == pytest.approx(stats.binomtest(above, sessions, alternative="greater").pvalue)


def test_a_value_at_the_bound_counts_against_being_above():
    assert sign_p([0.0, 1.0], 0.0) == 0.75


@pytest.mark.parametrize(("sessions", "ends"), [(5, None), (6, (0, 5)), (8, (0, 7)), (9, (1, 7)), (12, (2, 9))])
def test_the_interval_of_a_median_lies_between_sessions(sessions, ends):
    found = median_interval(list(range(sessions)))
    assert (found.low, found.high) == (ends or (None, None))
    if ends:
        missed = 2 * stats.binom.cdf(ends[0], sessions, 0.5)
        assert missed <= 0.05 < 2 * stats.binom.cdf(ends[0] + 1, sessions, 0.5)


def test_skewed_sessions_reach_the_level_of_signs_and_not_more():
    draws = np.exp(np.random.default_rng(51).standard_normal((4000, 9))) - 1.0  # log-normal about its median
    for sign in (1, -1):
        share = np.mean([sign_p((sign * row).tolist(), 0.0) <= 0.025 for row in draws])
        assert share <= 0.0195 + 0.0066  # 10 of 512, and three standard errors
    assert np.mean([sign_flip_p(row.tolist()) <= 0.025 for row in draws]) > 0.03  # flips do not hold it
