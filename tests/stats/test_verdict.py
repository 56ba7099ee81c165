import math

import numpy as np
import pytest

from bench.core.comparison import ComparisonReason, ComparisonVerdict, ShownBy
from bench.stats.looks import Plan
from bench.stats.verdict import is_decided, judge

PLAN = Plan()


def values(shift, sessions, spread=0.002, seed=1):
    return (shift + spread * np.random.default_rng(seed).standard_normal(sessions)).tolist()


def test_unchanged_code_is_same_after_five_sessions():
    judged = judge(values(0.0, 5), values(0.0, 5, seed=2), PLAN)
    assert judged.verdict is ComparisonVerdict.SAME
    assert (judged.look, judged.looks) == (1, 6)
    assert judged.confidence == 1 - 2**-4
    assert judged.low == min(judged.session_shifts)
    assert judged.shown_by is None
    assert judged.p_adjusted is None
    assert judged.minimum_detectable >= math.log1p(0.02)


def test_a_slowdown_of_every_step_says_so_with_its_p():
    judged = judge(values(0.05, 6), values(0.05, 6, seed=2), PLAN)
    assert judged.verdict is ComparisonVerdict.SLOWER
    assert judged.shown_by is ShownBy.EVERY_STEP
    assert judged.p_adjusted == pytest.approx(1 / 64 / 0.4)
    assert judged.look == 2


def test_a_slowdown_of_some_steps_is_told_by_the_mean_with_the_means_shift():
    means = values(0.05, 6, seed=2)
    judged = judge(values(0.0, 6), means, PLAN)
    assert judged.verdict is ComparisonVerdict.SLOWER
    assert judged.shown_by is ShownBy.ON_AVERAGE
    assert judged.session_shifts == tuple(means)
    assert judged.shift == judged.mean_shift == pytest.approx(0.05, abs=0.003)


def test_a_budget_that_ended_is_the_reason():
    judged = judge(values(0.012, 6), values(0.012, 6), PLAN, is_cut_short=True)
    assert judged.reason is ComparisonReason.BUDGET_ENDED
    assert judge(values(0.0, 2), values(0.0, 2), PLAN, is_cut_short=True).reason is ComparisonReason.BUDGET_ENDED
    assert judge([], [], PLAN).reason is ComparisonReason.TOO_FEW_SESSIONS


def test_noise_too_wild_for_the_threshold_cannot_be_judged():
    judged = judge(values(0.0, 14, spread=0.15), values(0.0, 14, spread=0.15), Plan(most=14))
    assert judged.verdict is ComparisonVerdict.INCONCLUSIVE
    assert judged.reason is ComparisonReason.CANNOT_DETECT
    assert judged.minimum_detectable > math.log1p(0.05)


def test_what_is_known_of_the_spread_counts_for_what_would_be_seen():
    calm = judge(values(0.0, 5), values(0.0, 5), PLAN)
    known = judge(values(0.0, 5), values(0.0, 5), PLAN, spread=0.05)
    assert known.minimum_detectable > calm.minimum_detectable
    assert known.verdict is ComparisonVerdict.SAME  # the test is exact whatever is known


@pytest.mark.parametrize("alpha", [0.05, 0.01, 0.001])
@pytest.mark.parametrize("drawings", [6, pytest.param(20, marks=pytest.mark.slow)])
def test_a_verdict_and_its_p_never_disagree(alpha, drawings):
    from bench.stats.looks import Threshold

    plan = Plan(threshold=Threshold(alpha=alpha), most=10)
    rng = np.random.default_rng(3)
    seen = set()
    for shift in (0.0, 0.05, -0.05) * drawings:
        data = shift + 0.03 * rng.standard_normal((2, 10))
        judged = judge(*data.tolist(), plan)
        seen.add(judged.verdict)
        if judged.verdict in (ComparisonVerdict.SLOWER, ComparisonVerdict.FASTER):
            assert judged.p_adjusted <= alpha
            assert abs(judged.shift) >= math.log1p(0.02)
        elif judged.verdict is ComparisonVerdict.INCONCLUSIVE and judged.p_adjusted is not None:
            assert judged.p_adjusted > alpha or max(abs(judged.shift), abs(judged.mean_shift)) < math.log1p(0.02)
    assert len(seen) >= 3, seen


def test_it_is_looked_at_planned_sessions_only():
    shifts = values(0.1, 7)
    assert [is_decided(shifts[:k], shifts[:k], PLAN) for k in range(5, 8)] == [False, True, False]


def test_values_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="finite"):
        judge([0.0] * 4 + [math.nan], [0.0] * 5, PLAN)
