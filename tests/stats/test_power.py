import math

import numpy as np
import pytest

from bench.stats.power import (
    detectable_factor,
    fewest_sessions,
    minimum_detectable,
    session_spread,
    sessions_needed,
)
from bench.stats.signflip import sign_flip_p


def found(shift, sessions, repeats=1500):
    """Share of Gaussian comparisons of spread 1 that the sign-flip test finds at 5 %."""
    xs = np.random.default_rng(0).normal(shift, 1.0, (repeats, sessions))
    return np.mean([sign_flip_p(x.tolist()) <= 0.05 for x in xs])


@pytest.mark.parametrize("sessions", [6, 8, 12])
def test_the_minimum_detectable_shift_is_found_with_80_percent(sessions):
    assert found(minimum_detectable(1.0, sessions), sessions) == pytest.approx(0.80, abs=0.05)


def test_the_normal_factor_promises_too_much_for_six_sessions():
    assert found(2.4865 / math.sqrt(6), 6) < 0.72


def test_the_factor_of_many_sessions_is_2_49():
    assert detectable_factor(10_000) == pytest.approx(2.49, abs=0.005)
    assert detectable_factor(6) == pytest.approx(2.015 + 0.920, abs=0.001)  # t tables, 5 degrees of freedom


def test_more_sessions_see_less_and_more_spread_hides_more():
    assert minimum_detectable(0.03, 14) < minimum_detectable(0.03, 8) < minimum_detectable(0.06, 8)
    assert minimum_detectable(0.0, 8) == 0.0


def test_four_sessions_detect_nothing():
    assert fewest_sessions(0.05) == 5
    assert fewest_sessions(1 / 32) == 5
    assert minimum_detectable(0.01, 4) is None


@pytest.mark.parametrize(("spread", "shift"), [(0.03, 0.05), (0.03, 0.02), (0.03, 0.005), (0.0, 0.01), (0.001, 0.1)])
def test_sessions_needed_is_the_fewest_that_suffice(spread, shift):
    sessions = sessions_needed(spread, shift)
    assert minimum_detectable(spread, sessions) <= shift
    fewer = minimum_detectable(spread, sessions - 1)
    assert fewer is None or fewer > shift


def test_the_spread_is_the_standard_deviation_between_sessions():
    assert session_spread([0.01, 0.03]) == pytest.approx(math.sqrt(2) * 0.01)
    assert session_spread([0.01]) is None


@pytest.mark.parametrize("bad", [-0.1, math.nan, math.inf])
def test_a_spread_that_makes_no_sense_is_refused(bad):
    with pytest.raises(ValueError, match="spread"):
        minimum_detectable(bad, 6)
    with pytest.raises(ValueError, match="spread"):
        sessions_needed(bad, 0.05)


@pytest.mark.parametrize("bad", [0.0, -0.05, math.nan])
def test_no_number_of_sessions_finds_nothing(bad):
    with pytest.raises(ValueError, match="shift above 0"):
        sessions_needed(0.03, bad)
