import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.stats import changepoint
from bench.stats.changepoint import find_change_points

from .simulate import ar1, repeatable


def marked(phi, n, repeats, **options):
    """Share of AR(1) series without a change in which one is found."""
    rng = np.random.default_rng(0)
    return np.mean([bool(find_change_points(x, **options).change_points) for x in ar1(rng, (repeats, n), phi)])


@pytest.mark.slow
# 100 series each: the rates below have a standard error of at most 3 %
@pytest.mark.parametrize(("phi", "n"), [(0.0, 30), (0.3, 60), (0.6, 60), (0.8, 60), (0.9, 60), (0.7, 120)])
def test_at_most_a_tenth_of_series_without_a_change_is_marked(phi, n):
    assert marked(phi, n, 100) <= 0.10


def test_without_the_autoregressive_term_most_are_marked():
    assert marked(0.8, 120, 60, autoregressive=False) > 0.40
    assert marked(0.9, 120, 60, autoregressive=False) > 0.75


@pytest.mark.parametrize(("phi", "least"), [(0.0, 0.95), (0.5, 0.85), (0.8, 0.85)])
def test_a_shift_of_four_standard_deviations_is_found_where_it_is(phi, least):
    series = ar1(np.random.default_rng(1), (60, 80), phi)
    series[:, 50:] += 4.0
    near = [any(abs(point - 50) <= 1 for point in find_change_points(x).change_points) for x in series]
    assert np.mean(near) >= least


def test_two_shifts_and_their_levels_are_found():
    series = 0.1 * np.random.default_rng(2).standard_normal(90)
    series[30:] += 1.0
    series[60:] -= 3.0
    found = find_change_points(series)
    assert found.change_points == (30, 60)
    assert found.levels == pytest.approx((0.0, 1.0, -2.0), abs=0.1)


def test_a_single_outlier_is_no_change():
    series = 0.01 * np.random.default_rng(3).standard_normal(60)
    series[30] = 1.0
    assert find_change_points(series).change_points == ()


@pytest.mark.parametrize("k", [1, 2, 3])
def test_the_change_points_are_the_least_costly_of_all(k):
    # every segmentation of a short series is tried
    series = ar1(np.random.default_rng(4), (14,), 0.5)
    series[7:] += 3
    z = np.concatenate([[0.0], series[1:] - 0.5 * series[:-1]])

    def cost(points):
        pairs = list(itertools.pairwise([0, *points, 14]))
        if any(b - a < 3 for a, b in pairs):
            return math.inf
        return sum(np.sum((z[a + 1 : b] - z[a + 1 : b].mean()) ** 2) for a, b in pairs)

    every = min(itertools.combinations(range(1, 14), k), key=cost)
    found = list(changepoint._least_cost(changepoint._segment_costs(series, 0.5), 3))[k]
    assert found == (pytest.approx(cost(every)), every)


def test_a_change_point_one_too_early_is_moved():
    x = np.array([1.0] * 20 + [2.0] * 20)
    assert changepoint._fit_all(x, 0.0, (19,)) == (pytest.approx(0.0, abs=1e-12), (20,))
    assert changepoint._fit_all(x, 0.5, (20,))[1] == (20,)


def test_the_error_of_the_joint_fit_is_that_of_least_squares():
    x = np.random.default_rng(5).normal(size=12)
    design = np.zeros((11, 2))
    for t in range(1, 12):
        design[t - 1, int(t >= 5)] += 1
        design[t - 1, int(t - 1 >= 5)] -= 0.7
    reference = np.linalg.lstsq(design, x[1:] - 0.7 * x[:-1], rcond=None)[1][0]
    assert changepoint._squared_error(x, 0.7, (5,)) == pytest.approx(reference)


@pytest.mark.parametrize("constant", [0.0, 1.0, 1e-9, 0.1])
def test_a_constant_series_has_one_level(constant):
    found = find_change_points([constant] * 40)
    assert (found.change_points, found.levels) == ((), (constant,))


def test_an_exact_step_is_found():
    assert find_change_points([1.0] * 20 + [2.0] * 20).change_points == (20,)


def test_five_values_are_too_few_for_a_change():
    assert find_change_points([0.0, 0.0, 0.0, 9.0, 9.0]).change_points == ()


@pytest.mark.parametrize("bad", [[], [1.0, math.nan, 2.0], [0.0] * 2001])
def test_bad_series_are_refused(bad):
    with pytest.raises(ValueError, match=r"2000 values|finite"):
        find_change_points(bad)


@repeatable
@given(st.lists(st.integers(-100, 100), min_size=6, max_size=25), st.integers(-8, 8), st.sampled_from([-1.0, 1.0]))
def test_unit_and_sign_do_not_matter(xs, power, sign):
    plain = find_change_points([float(x) for x in xs])
    assert find_change_points([sign * 2.0**power * x for x in xs]).change_points == plain.change_points
