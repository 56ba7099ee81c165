import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata

from bench.stats.estimate import autocorrelations, effective_n, integrated_autocorrelation_time, ranks

from .simulate import ar1, repeatable

values = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60)


def test_autocorrelation_agrees_with_the_plain_sum():
    x = np.random.default_rng(0).normal(size=37)
    centred = x - x.mean()
    plain = [np.sum(centred[: 37 - k] * centred[k:]) / np.sum(centred**2) for k in range(37)]
    assert autocorrelations(x) == pytest.approx(np.array(plain), abs=1e-12)


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.8, 0.9])
def test_tau_of_ar1_noise_is_the_closed_form_or_a_little_more(phi):
    rng = np.random.default_rng(1)
    taus = [integrated_autocorrelation_time(x) for x in ar1(rng, (60, 2000), phi)]
    assert 0.97 <= np.mean(taus) / ((1 + phi) / (1 - phi)) <= 1.25  # the larger of two estimates errs upwards


@pytest.mark.parametrize("phi", [0.5, 0.8])
def test_effective_n_of_short_series_is_not_far_too_large(phi):
    rng = np.random.default_rng(2)
    worth = np.mean([effective_n(x) for x in ar1(rng, (300, 50), phi)])
    assert worth == pytest.approx(50 * (1 - phi) / (1 + phi), rel=0.35)


def test_alternating_values_are_not_worth_more_than_themselves():
    assert effective_n([1.0, 2.0] * 30) == 60


def test_a_ramp_is_worth_one_value():
    assert effective_n(list(range(100))) == pytest.approx(1.0, abs=1.0)


@pytest.mark.parametrize("constant", [0.0, 1.0, 0.1, 1e300])
def test_constant_values_are_independent(constant):
    assert effective_n([constant] * 25) == 25


def test_no_values_have_no_autocorrelation():
    with pytest.raises(ValueError, match="without values"):
        integrated_autocorrelation_time([])


def test_nan_is_refused():
    with pytest.raises(ValueError, match="finite"):
        effective_n([1.0, math.nan])


@repeatable
@given(values)
def test_effective_n_lies_between_1_and_n(xs):
    assert 1.0 <= effective_n(xs) <= len(xs)


@repeatable
@given(values)
def test_ranks_agree_with_scipy(xs):
    assert ranks(xs) == pytest.approx(rankdata(xs))
