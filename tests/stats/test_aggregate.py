import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.stats.estimate import geometric_mean

from .simulate import repeatable

ratios = st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=20)


def test_a_slowdown_is_not_clipped():
    mean = geometric_mean([2.0, 0.5])
    assert (mean.ratio, mean.n, mean.missing) == (pytest.approx(1.0), 2, 0)


def test_a_missing_ratio_is_missing():
    mean = geometric_mean([4.0, None, 1.0])
    assert (mean.ratio, mean.n, mean.missing) == (pytest.approx(2.0), 2, 1)


@pytest.mark.parametrize("nothing", [[], [None, None]])
def test_without_ratios_there_is_no_mean(nothing):
    mean = geometric_mean(nothing)
    assert (mean.ratio, mean.n, mean.missing) == (None, 0, len(nothing))


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_a_ratio_that_makes_no_sense_is_refused(bad):
    with pytest.raises(ValueError, match=r"above 0|finite"):
        geometric_mean([1.0, bad])


@repeatable
@given(ratios)
def test_swapping_the_sides_inverts_the_mean(xs):
    assert geometric_mean([1 / x for x in xs]).ratio == pytest.approx(1 / geometric_mean(xs).ratio)


@repeatable
@given(ratios)
def test_the_mean_lies_between_the_smallest_and_the_largest(xs):
    assert min(xs) * (1 - 1e-12) <= geometric_mean(xs).ratio <= max(xs) * (1 + 1e-12)
