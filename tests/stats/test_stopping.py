import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from bench.core.record import Sampling
from bench.stats import stopping
from bench.stats.estimate import estimate_median
from bench.stats.stopping import StopRule, WarmupRule

from .simulate import ar1

SAMPLING = Sampling(
    target=0.02,
    budget_seconds=10.0,
    min_steps=5,
    min_blocks=1,
    undecided_steps=5,
    floor_seconds=0.0,
    max_steps=500,
    min_warmup_steps=3,
    max_warmup_steps=20,
    warmup_tolerance=0.05,
)


def steps_until_finished(rule, seconds):
    for count, second in enumerate(seconds, start=1):
        rule.add(second)
        if rule.is_finished:
            return count
    return None


def test_warmup_of_steady_steps_takes_two_windows():
    rule = WarmupRule(SAMPLING)
    assert steps_until_finished(rule, [0.01] * 30) == 10


def test_warmup_forgets_a_slow_first_step():
    assert steps_until_finished(WarmupRule(SAMPLING), [0.139, 0.103, 0.101, *[0.1] * 20]) == 10


def test_warmup_waits_until_steps_stop_falling():
    falling = [0.1 * (1 + math.exp(-i / 4)) for i in range(20)]
    rule = WarmupRule(SAMPLING)
    steps = steps_until_finished(rule, falling)
    assert 10 < steps < 20
    before, last = np.median(falling[steps - 10 : steps - 5]), np.median(falling[steps - 5 : steps])
    assert (
        before / last - 1
        <= 0.05
        < np.median(falling[steps - 11 : steps - 6]) / np.median(falling[steps - 6 : steps - 1]) - 1
    )


def test_warmup_measures_a_change_against_the_smaller_median():
    rule = WarmupRule(SAMPLING)
    rule.add([1.0] * 5 + [1.051] * 5)
    assert not rule.is_finished
    rule = WarmupRule(SAMPLING)
    rule.add([1.0] * 5 + [1.049] * 5)
    assert rule.is_finished


def test_warmup_that_never_settles_ends_unsettled():
    rule = WarmupRule(SAMPLING)
    assert steps_until_finished(rule, [0.9**i for i in range(30)]) == 20


def test_warmup_lasts_its_minimum_seconds_although_steps_are_settled():
    rule = WarmupRule(Sampling(min_warmup_seconds=1.0))
    assert steps_until_finished(rule, [0.0625] * 40) == 19  # the first three do not count


def test_warmup_lasts_its_minimum_seconds_although_steps_are_many():
    rule = WarmupRule(Sampling(min_warmup_seconds=1.0))
    assert steps_until_finished(rule, [2.0**-8] * 1000) == 259


def test_a_first_step_that_compiles_is_no_second_of_work():
    rule = WarmupRule(Sampling(min_warmup_seconds=1.0))
    assert steps_until_finished(rule, [60.0, *[2.0**-8] * 1000]) == 259


def test_warmup_ends_at_its_maximum_however_short():
    rule = WarmupRule(Sampling(min_warmup_steps=1, max_warmup_steps=2))
    assert steps_until_finished(rule, [0.1] * 5) == 2


def test_warmup_of_zero_seconds_settles():
    assert steps_until_finished(WarmupRule(SAMPLING), [0.0] * 30) == 10


def test_a_running_rule_has_no_verdict():
    running = StopRule(SAMPLING)
    assert (running.is_finished, running.is_converged) == (False, None)
    running.add([0.1, 0.2])
    assert (running.is_finished, running.is_converged, running.steps) == (False, None, 2)


@pytest.mark.parametrize("rule", [WarmupRule, StopRule])
@pytest.mark.parametrize("bad", [math.nan, -1.0, [0.1, math.inf]])
def test_bad_seconds_are_refused(rule, bad):
    with pytest.raises(ValueError, match="seconds"):
        rule(SAMPLING).add(bad)


@pytest.mark.parametrize("rule", [WarmupRule, StopRule])
def test_a_block_counts_as_its_steps(rule):
    seconds = (0.1 * np.exp(0.01 * np.random.default_rng(0).standard_normal(100))).tolist()
    single, block = rule(SAMPLING), rule(SAMPLING)
    for second in seconds:
        single.add(second)
    block.add(seconds)
    assert (single.steps, single.is_finished) == (block.steps, block.is_finished)


def test_steady_steps_stop_as_soon_as_there_is_an_interval():
    rule = StopRule(SAMPLING)
    assert steps_until_finished(rule, [0.1] * 100) == 6
    assert rule.is_converged is True


def test_the_minimum_of_steps_comes_before_the_budget():
    rule = StopRule(SAMPLING)
    assert steps_until_finished(rule, [100.0] * 10) == 5
    assert rule.is_converged is False  # five steps have no interval


def test_noisy_steps_stop_at_the_budget_unconverged():
    noise = 0.0625 * np.exp(0.5 * np.random.default_rng(1).standard_normal(1000))
    rule = StopRule(SAMPLING)
    steps = steps_until_finished(rule, noise.tolist())
    assert noise[:steps].sum() >= 10.0 > noise[: steps - 1].sum()
    assert rule.is_converged is False


def test_noisy_steps_stop_at_the_most_steps():
    noise = 1e-6 * np.exp(0.5 * np.random.default_rng(1).standard_normal(1000))
    assert steps_until_finished(StopRule(SAMPLING), noise.tolist()) == 500


def test_a_converged_rule_is_within_its_target():
    rule = StopRule(SAMPLING)
    noise = 1e-3 * np.exp(0.05 * np.random.default_rng(2).standard_normal(1000))
    steps = steps_until_finished(rule, noise.tolist())
    assert steps < 500
    assert rule.is_converged is True
    assert rule.estimate == estimate_median(noise[:steps].tolist())
    assert rule.estimate.relative_half_width <= 0.02


def blocks_until_finished(sampling, seconds, block=1):
    rule = StopRule(sampling)
    for count in range(1, 1000):
        rule.add([seconds] * block)
        if rule.is_finished:
            return count
    return None


@pytest.mark.parametrize(
    "seconds, steps",
    [(0.001, 20), (0.1, 20), (1.0, 20), (2.0, 10), (3.0, 7), (100.0, 5)],
    ids=lambda value: str(value),
)
def test_slow_steps_are_fewer_than_twenty_but_five_at_least(seconds, steps):
    assert blocks_until_finished(Sampling(budget_seconds=0.25), seconds) == steps


def test_a_larger_budget_than_twenty_seconds_fits_more_long_steps():
    assert blocks_until_finished(Sampling(budget_seconds=60.0), 5.0) == 12


def test_steps_that_come_in_blocks_take_five_of_them():
    assert blocks_until_finished(Sampling(budget_seconds=0.01), 0.001, block=50) == 5


def no_interval(count):
    """Ten-step moods of two speeds: too few independent values for an interval, however long."""
    return [0.1 if index // 10 % 2 else 0.11 for index in range(count)]


def test_without_an_interval_sixty_steps_end_it_not_the_budget():
    rule = StopRule(Sampling(budget_seconds=0.25))
    assert steps_until_finished(rule, no_interval(200)) == 60
    assert rule.is_converged is False


def test_the_floor_ends_it_without_an_interval():
    rule = StopRule(Sampling(budget_seconds=0.25, floor_seconds=3.0))
    assert steps_until_finished(rule, no_interval(200)) == 29


def noisy(spread, seconds=0.0625):
    return (seconds * np.exp(spread * np.random.default_rng(1).standard_normal(5000))).tolist()


def test_with_a_narrow_interval_the_budget_ends_it_at_twenty_steps():
    rule = StopRule(Sampling(budget_seconds=0.25))
    assert steps_until_finished(rule, noisy(0.06)) == 20
    assert 0.02 < rule.estimate.relative_half_width <= 0.05
    assert rule.is_converged is False


def test_with_a_wide_interval_it_goes_on_to_sixty_steps():
    rule = StopRule(Sampling(budget_seconds=0.25))
    assert steps_until_finished(rule, noisy(0.4)) == 60
    assert rule.estimate.relative_half_width > 0.05


def test_short_steps_with_a_wide_interval_go_on_for_a_second():
    moods = [0.001 if index // 10 % 2 else 0.002 for index in range(3000)]
    rule = StopRule(Sampling(budget_seconds=0.25))
    count = steps_until_finished(rule, moods)
    assert sum(moods[: count - 1]) < 1.0 <= sum(moods[:count])


def test_correlated_steps_are_sampled_longer():
    rng = np.random.default_rng(3)
    sampling = Sampling(budget_seconds=math.inf, max_steps=5000)

    def typical(phi):
        series = 1e-3 * np.exp(0.05 * ar1(rng, (30, 5000), phi))
        return np.median([steps_until_finished(StopRule(sampling), x.tolist()) for x in series])

    assert typical(0.8) > 3 * typical(0.0)


@pytest.mark.slow
def test_stopping_at_the_target_keeps_most_of_the_coverage():
    rng = np.random.default_rng(4)
    hits = []
    for x in 1e-3 * np.exp(0.05 * ar1(rng, (200, 1000), 0.6)):
        rule = StopRule(Sampling(budget_seconds=math.inf))
        steps_until_finished(rule, x.tolist())
        hits.append(rule.estimate.low <= 1e-3 <= rule.estimate.high)
    assert np.mean(hits) >= 0.88  # 0.91 in 500 series; looking often costs a few percent


def test_the_interval_is_computed_a_few_dozen_times(monkeypatch):
    calls = []
    monkeypatch.setattr(stopping, "estimate_median", lambda x: calls.append(len(x)) or estimate_median(x))
    noise = 1e-6 * np.exp(0.9 * np.random.default_rng(5).standard_normal(5000))
    steps_until_finished(StopRule(Sampling(target=1e-4, budget_seconds=math.inf)), noise.tolist())
    assert len(calls) < 45
    assert all(later >= 1.2 * earlier for earlier, later in itertools.pairwise(calls))


def test_a_tail_is_measured_past_the_target_up_to_the_budget():
    rng = np.random.default_rng(2)
    seconds = (0.01 + 0.001 * rng.random(6000)).tolist()
    rule = StopRule(stopping.with_tail(SAMPLING, None))
    taken = steps_until_finished(rule, seconds)
    assert taken is not None
    assert 1000 <= taken <= 1800
    assert rule.is_converged
    shared = stopping.with_tail(SAMPLING, 9.0)  # by three processes
    assert (shared.processes, shared.budget_seconds) == (3, 3.0)
    assert steps_until_finished(StopRule(shared), seconds) == pytest.approx(3.0 / 0.0105, rel=0.05)
    assert stopping.with_tail(replace(SAMPLING, processes=5), 10.0).budget_seconds == 2.0


def test_a_tail_is_measured_on_while_the_steps_drift():
    rng = np.random.default_rng(2)
    levels = np.where(np.arange(60_000) < 400, 0.009, 0.01)
    seconds = (levels * (1 + 0.05 * rng.random(levels.size))).tolist()
    rule = StopRule(stopping.with_tail(SAMPLING, None))
    taken = steps_until_finished(rule, seconds)
    assert taken is not None
    assert rule.estimate.low is not None, "without a drift the median has its interval"
    parts = []
    rule = StopRule(stopping.with_tail(SAMPLING, None), lambda: parts)
    assert steps_until_finished(rule, (parts.append(second) or second for second in seconds)) < taken


def test_the_tail_of_the_parts_of_a_step_ends_earlier():
    rng = np.random.default_rng(2)
    parts = []

    def seconds():
        while True:
            parts.extend((0.001 + 0.0001 * rng.random(60)).tolist())
            yield sum(parts[-60:])

    rule = StopRule(stopping.with_tail(SAMPLING, None), lambda: parts)
    taken = steps_until_finished(rule, itertools.islice(seconds(), 400))
    assert taken is not None
    assert 16 <= taken <= 35
    assert stopping.without_tail(stopping.with_tail(SAMPLING, None)).budget_seconds == Sampling().budget_seconds
    assert stopping.without_tail(SAMPLING) is SAMPLING
