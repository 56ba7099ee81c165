import math

import numpy as np
import pytest

from bench.stats import power
from bench.stats.looks import SLOWER, Plan, Threshold, draw_patterns, look
from bench.stats.power import sees, session_spread

PLAN = Plan()


def found(shift, spread, plan, count=600):
    rng = np.random.default_rng(99)
    z = rng.standard_normal((count, plan.most, 2))
    z[..., 1] = 0.6 * z[..., 0] + 0.8 * z[..., 1]
    return (look(spread * z + shift, plan, draw_patterns(plan, 1024, rng)).verdict == SLOWER).mean()


@pytest.mark.slow
@pytest.mark.parametrize("cells", [1, 5])
@pytest.mark.parametrize("spread", [0.004, 0.012, 0.018, 0.03])
def test_what_would_be_seen_is_found_four_times_in_five(spread, cells):
    plan = Plan(cells=cells)
    exact = math.exp(round(math.log(spread) / math.log(1.2)) * math.log(1.2))  # spreads are rounded
    shift = sees(plan, spread)
    assert found(shift, exact, plan) >= 0.80 - 0.07  # 200 draws found it, 600 others are asked
    assert found(shift - 0.3 * exact, exact, plan) < 0.80


@pytest.mark.parametrize("spread", [0.0, 0.0001, 0.004])
def test_nothing_below_what_fails_is_ever_seen(spread):
    assert math.log1p(0.02) <= sees(PLAN, spread) <= math.log1p(0.0215)


@pytest.mark.slow
def test_more_spread_more_cells_and_fewer_sessions_hide_more():
    assert sees(PLAN, 0.01) < sees(PLAN, 0.03)
    assert sees(PLAN, 0.03) < sees(Plan(cells=5), 0.03)
    assert sees(PLAN, 0.03) < sees(Plan(most=6), 0.03)


def test_a_plan_that_cannot_alarm_sees_nothing():
    assert sees(Plan(most=5, cells=2), 0.01) is None
    assert sees(Plan(threshold=Threshold(alpha=1e-7)), 0.01) is None


def test_it_is_told_at_once_when_asked_again():
    found = sees(PLAN, 0.0231)
    simulated = power._sees.cache_info().misses
    assert sees(PLAN, 0.0232) == sees(PLAN, 0.0231) == found
    assert power._sees.cache_info().misses == simulated


def test_the_spread_is_the_standard_deviation_between_sessions():
    assert session_spread([0.01, 0.03]) == pytest.approx(math.sqrt(2) * 0.01)
    assert session_spread([0.01]) is None


@pytest.mark.parametrize("bad", [-0.1, math.nan, math.inf])
def test_a_spread_that_makes_no_sense_is_refused(bad):
    with pytest.raises(ValueError, match="spread"):
        sees(PLAN, bad)
