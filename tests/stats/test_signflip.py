import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bench.stats import signflip
from bench.stats.signflip import joint_sign_flip_p, sign_flip_p

from .simulate import repeatable

shifts = st.lists(st.integers(-50, 50).map(lambda x: x / 1000), min_size=1, max_size=8)


def clipped(xs):
    limit = signflip.CLIP * np.median(np.abs(xs)) or math.inf
    return [max(-limit, min(limit, x)) for x in xs]


def by_hand(matrix):
    """Adjusted p-values by the definition, pattern by pattern; None is missing."""
    sessions, benchmarks = len(matrix), len(matrix[0])

    def statistic(j, signs):
        present = [(s, row[j]) for s, row in zip(signs, matrix, strict=True) if row[j] is not None]
        pairs = list(zip([s for s, _ in present], clipped([d for _, d in present]), strict=True)) if present else []
        norm = math.sqrt(sum(d * d for _, d in pairs))
        return sum(s * d for s, d in pairs) / norm if norm else 0.0

    observed = [statistic(j, [1] * sessions) for j in range(benchmarks)]
    highest = [
        max(statistic(j, signs) for j in range(benchmarks)) for signs in itertools.product([1, -1], repeat=sessions)
    ]
    return tuple(
        sum(h >= t - 1e-9 for h in highest) / 2**sessions if any(row[j] is not None for row in matrix) else None
        for j, t in enumerate(observed)
    )


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


@pytest.mark.parametrize("seed", range(8))
def test_joint_p_values_agree_with_the_definition(seed):
    rng = np.random.default_rng(seed)
    matrix = rng.normal(0.01, 0.03, (6, 4)).tolist()
    matrix[seed % 6][1] = None  # a voided session for one benchmark
    for row in matrix:
        row[2] = 0.0
    if seed % 2:
        for row in matrix:
            row[3] = None
    assert joint_sign_flip_p(matrix) == pytest.approx(by_hand(matrix))


def test_a_joint_test_of_one_is_the_single_test():
    xs = [0.03, -0.01, 0.02, 0.05, 0.01, 0.04]
    assert joint_sign_flip_p([[x] for x in xs]) == (sign_flip_p(xs),)


def test_a_copy_of_a_benchmark_costs_nothing():
    xs = [0.03, -0.01, 0.02, 0.05, 0.01, 0.04]
    assert joint_sign_flip_p([[x, x, 3 * x] for x in xs]) == pytest.approx((sign_flip_p(xs),) * 3)


def test_a_benchmark_without_sessions_has_no_p():
    assert joint_sign_flip_p([[0.1, None], [0.2, None]]) == (0.25, None)
    assert joint_sign_flip_p([]) == ()
    assert joint_sign_flip_p([[], []]) == ()


def test_a_benchmark_with_few_sessions_cannot_have_a_small_p():
    rows = [[0.05, 0.05 if k < 3 else None] for k in range(8)]
    assert joint_sign_flip_p(rows)[1] >= 1 / 8


def test_above_twenty_sessions_seeded_draws_stand_in(monkeypatch):
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


def test_rows_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="one value per benchmark"):
        joint_sign_flip_p([[0.1], [0.1, 0.2]])


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


@repeatable
@given(
    st.integers(1, 5).flatmap(
        lambda j: st.lists(st.lists(st.floats(-1, 1), min_size=j, max_size=j), min_size=1, max_size=7)
    )
)
def test_an_adjusted_p_is_never_below_the_single_one(matrix):
    joint = joint_sign_flip_p(matrix)
    for j, p in enumerate(joint):
        assert p >= sign_flip_p([row[j] for row in matrix]) - 1e-12
