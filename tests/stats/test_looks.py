import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.core.comparison import Comparison, ComparisonReason, ComparisonVerdict
from bench.core.jsonio import from_json, to_json
from bench.stats.looks import FIRST_SHARE, Threshold, confirm, extend, judge, judge_suite, screen

from .simulate import repeatable

NOISE = [0.004, -0.006, 0.002, -0.003, 0.005, -0.002, 0.001, -0.001]
SLOW = [0.05 + x for x in NOISE]
WILD = [0.2, -0.25, 0.3, -0.1, 0.15, -0.3, 0.22, -0.2]
rows = st.lists(st.lists(st.floats(-0.2, 0.2), min_size=3, max_size=3), min_size=6, max_size=8)


def table(*columns, sessions=8):
    return [[column[k] for column in columns] for k in range(sessions)]


def test_the_screen_takes_on_suspects_of_both_directions_and_what_it_cannot_decide():
    assert screen(table(SLOW, NOISE, [-x for x in SLOW], WILD, sessions=6)) == (0, 2, 3)


def test_the_screen_does_not_take_on_what_hardly_any_session_counted_for():
    assert screen([[x if k < 3 else None] for k, x in enumerate(WILD[:6])]) == ()


def test_a_spread_that_is_known_from_elsewhere_keeps_calm_sessions_open():
    assert screen(table(NOISE, sessions=6), spreads=[0.0]) == ()
    assert screen(table(NOISE, sessions=6), spreads=[0.06]) == (0,)
    (judgement,) = judge_suite(table(NOISE, sessions=6), spreads=[0.06])
    assert judgement.reason is ComparisonReason.CANNOT_DETECT


def test_the_screen_lets_a_shift_pass_that_is_far_below_the_threshold():
    tiny = [0.005 + x / 100 for x in NOISE]
    assert screen(table(tiny, sessions=6)) == ()
    assert screen(table(tiny, sessions=6), Threshold(fail_at=0.005)) == (0,)


def test_a_confirmed_slowdown_is_slower():
    (judgement,) = confirm(table(SLOW))
    assert judgement.verdict is ComparisonVerdict.SLOWER
    assert judgement.reason is ComparisonReason.SLOWDOWN_CONFIRMED
    assert judgement.p_adjusted == 1 / 256
    assert judgement.low < judgement.shift < judgement.high
    assert judgement.shift == pytest.approx(0.05, abs=0.005)


def test_a_confirmed_speedup_is_faster_by_the_mirrored_test():
    (judgement,) = confirm(table([-x for x in SLOW]))
    assert (judgement.verdict, judgement.reason) == (ComparisonVerdict.FASTER, ComparisonReason.SPEEDUP_CONFIRMED)
    assert judgement.p_adjusted == 1 / 256


def test_a_sure_shift_below_the_threshold_is_no_regression():
    (judgement,) = confirm(table([0.01 + x / 10 for x in NOISE]))
    assert (judgement.verdict, judgement.p_adjusted) == (ComparisonVerdict.SAME, 1 / 256)


def test_an_excluded_slowdown_is_same():
    judgement = judge(NOISE)
    assert (judgement.verdict, judgement.reason) == (ComparisonVerdict.SAME, ComparisonReason.SLOWDOWN_EXCLUDED)
    assert judgement.high < math.log1p(0.05)


def test_a_noisy_benchmark_cannot_judge_and_never_passes():
    judgement = judge(WILD)
    assert (judgement.verdict, judgement.reason) == (ComparisonVerdict.INCONCLUSIVE, ComparisonReason.CANNOT_DETECT)
    assert judgement.minimum_detectable > math.log1p(0.05)


def test_a_noisy_benchmark_that_looks_faster_still_does_not_pass():
    judgement = judge([x - 0.5 for x in WILD])
    assert judgement.high < 0
    assert judgement.reason is ComparisonReason.CANNOT_DETECT


def test_a_slowdown_neither_shown_nor_excluded_is_inconclusive():
    judgement = judge([0.047 + x for x in NOISE])
    assert judgement.verdict is ComparisonVerdict.INCONCLUSIVE
    assert judgement.reason is ComparisonReason.SLOWDOWN_NOT_EXCLUDED


@pytest.mark.parametrize("sessions", range(5))
def test_four_sessions_are_too_few_for_any_verdict(sessions):
    judgement = judge(SLOW[:sessions], p_slower=0.0)
    assert judgement.reason is ComparisonReason.TOO_FEW_SESSIONS
    assert (judgement.shift is None) == (sessions == 0)


def test_only_fresh_sessions_convict_a_suspect():
    screened = table(SLOW, NOISE, sessions=6)
    slow, same = judge_suite(screened, [[x] for x in SLOW])
    assert (slow.verdict, same.verdict) == (ComparisonVerdict.SLOWER, ComparisonVerdict.SAME)
    assert (slow.session_shifts, slow.screen_shifts) == (tuple(SLOW), tuple(SLOW[:6]))
    assert (same.session_shifts, same.p_adjusted) == (tuple(NOISE[:6]), None)
    acquitted, _ = judge_suite(screened, [[x] for x in NOISE])
    assert acquitted.verdict is ComparisonVerdict.SAME


def test_a_suspect_without_fresh_sessions_is_inconclusive():
    slow, same = judge_suite(table(SLOW, NOISE, sessions=6))
    assert (slow.verdict, slow.reason) == (ComparisonVerdict.INCONCLUSIVE, ComparisonReason.SUSPECT_NOT_CONFIRMED)
    assert same.verdict is ComparisonVerdict.SAME


def test_voided_sessions_are_left_out_for_that_benchmark_only():
    screened = table(SLOW, NOISE, sessions=6)
    screened[2][1] = None
    screened[4][1] = None
    _, few = judge_suite(screened)
    assert few.reason is ComparisonReason.TOO_FEW_SESSIONS
    assert len(few.session_shifts) == 4
    assert screen(screened) == (0,)


def test_fresh_sessions_of_other_columns_than_the_suspects_are_refused():
    with pytest.raises(ValueError, match="confirmed sessions need one column for each of the 1 benchmarks"):
        judge_suite(table(SLOW, NOISE, sessions=6), table(SLOW, NOISE))


HIDDEN = [0.05 + x for x in NOISE[:7]] + [-0.14]  # one session of eight is far off


def test_a_wild_session_is_answered_by_more_sessions():
    screened = table(SLOW, SLOW, sessions=6)
    confirmed = table(HIDDEN, SLOW)
    found, clear = judge_suite(screened, confirmed)
    assert (found.verdict, clear.verdict) == (ComparisonVerdict.INCONCLUSIVE, ComparisonVerdict.SLOWER)
    assert extend(confirmed) == (0,)
    found, clear = judge_suite(screened, confirmed, [[x] for x in SLOW[:6]])
    assert (found.verdict, clear.verdict) == (ComparisonVerdict.SLOWER, ComparisonVerdict.SLOWER)
    assert (len(found.session_shifts), len(clear.session_shifts)) == (14, 8)
    assert found.screen_shifts == tuple(SLOW[:6])


def test_where_all_is_decided_nothing_is_extended():
    assert extend(table(SLOW, NOISE)) == ()
    assert extend([]) == ()


def test_what_looks_the_same_goes_on_with_what_is_undecided_or_the_joint_test_would_not_hold():
    assert extend(table(SLOW, NOISE, WILD)) == (1, 2)


def test_two_looks_share_alpha():
    (first,) = confirm(table(SLOW), share=FIRST_SHARE)
    assert first.p_adjusted == pytest.approx(1 / 256 / FIRST_SHARE)
    (plain,) = confirm(table(SLOW))
    assert plain.p_adjusted == 1 / 256
    assert plain.minimum_detectable < first.minimum_detectable


def test_five_fresh_sessions_cannot_reach_the_first_looks_share():
    (judgement,) = confirm(table(SLOW, sessions=5), share=FIRST_SHARE)
    assert (judgement.verdict, judgement.minimum_detectable) == (ComparisonVerdict.INCONCLUSIVE, None)


def test_without_a_planned_second_look_all_of_alpha_is_spent_on_the_first():
    (judgement,) = judge_suite(table(SLOW, sessions=6), table(SLOW), is_extending=False)
    assert judgement.p_adjusted == 1 / 256


def test_further_sessions_of_other_columns_are_refused():
    with pytest.raises(ValueError, match="extended sessions need one column"):
        judge_suite(table(SLOW, sessions=6), table(HIDDEN), table(SLOW, NOISE, sessions=6))


def test_a_suite_without_benchmarks_has_no_verdicts():
    assert judge_suite([]) == ()


@pytest.mark.parametrize("bad", [{"fail_at": -0.1}, {"tolerate": 0.01}, {"alpha": 0.0}, {"tolerate": math.nan}])
def test_thresholds_that_make_no_sense_are_refused(bad):
    with pytest.raises(ValueError, match="needed"):
        Threshold(**bad)


def test_a_nan_is_an_error_and_not_a_verdict():
    with pytest.raises(ValueError, match="finite"):
        judge([math.nan] * 8)


MIRRORED = {ComparisonVerdict.SLOWER: ComparisonVerdict.FASTER, ComparisonVerdict.FASTER: ComparisonVerdict.SLOWER}


@repeatable
@given(rows)
def test_swapping_the_arms_swaps_slower_and_faster(matrix):
    plain, swapped = confirm(matrix), confirm([[-x for x in row] for row in matrix])
    for one, other in zip(plain, swapped, strict=True):
        assert (one.verdict in MIRRORED) == (other.verdict in MIRRORED)
        if one.verdict in MIRRORED:
            assert other.verdict is MIRRORED[one.verdict]
        assert other.minimum_detectable == pytest.approx(one.minimum_detectable)


@repeatable
@given(rows)
def test_a_pass_always_excludes_the_tolerated_slowdown(matrix):
    for judgement in confirm(matrix):
        if judgement.verdict is ComparisonVerdict.SAME:
            assert judgement.high < math.log1p(0.05)
            assert judgement.minimum_detectable <= math.log1p(0.05)


def test_a_comparison_goes_to_json_and_back():
    judgement = judge(SLOW, p_slower=1 / 256)
    comparison = Comparison(
        cell_id="my_net/train/b8/cpu/fp32",
        cell_key="0" * 16,
        shift=judgement.shift,
        low=judgement.low,
        high=judgement.high,
        session_shifts=judgement.session_shifts,
        voided=(("busy", 2),),
        verdict=judgement.verdict,
        reason=judgement.reason,
        facts=(("fail_at", 0.02), ("field", "torch")),
    )
    assert from_json(Comparison, to_json(comparison)) == comparison
