"""The fits against numpy's and scipy's, and what no fit may do."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from bench.stats.scaling import LEAST_SIGMA, fit_power, fit_weighted_line

from .simulate import repeatable

BATCHES = (1, 2, 4, 8, 16, 32)
sizes = st.lists(st.integers(1, 1000), min_size=3, max_size=8, unique=True)
positive = st.floats(1e-6, 1e3).map(lambda x: float(f"{x:.6g}"))


def equal_sigma(points, sigma):
    """Return half widths that give every point this sigma."""
    return [sigma * stats.norm.ppf(0.975)] * len(points)


@repeatable
@given(sizes, st.data())
def test_the_line_is_numpys_weighted_least_squares(xs, data):
    ys = data.draw(st.lists(positive, min_size=len(xs), max_size=len(xs)))
    shares = data.draw(st.lists(st.floats(0.02, 0.5), min_size=len(xs), max_size=len(xs)))
    halves = [share * y for share, y in zip(shares, ys, strict=True)]
    sigma = np.maximum(np.array(halves) / stats.norm.ppf(0.975), LEAST_SIGMA * np.array(ys))
    fitted = fit_weighted_line(xs, ys, halves)
    slope, intercept = np.polyfit(xs, ys, 1, w=1 / sigma)
    scale = abs(slope) * max(xs) + abs(intercept) + max(ys)
    assert fitted.slope.point * max(xs) == pytest.approx(slope * max(xs), abs=1e-6 * scale)
    assert fitted.intercept.point == pytest.approx(intercept, abs=1e-6 * scale)


def test_the_intervals_are_those_of_the_covariance_and_students_t():
    xs, ys = [1, 2, 4, 8, 16], [1.1, 1.9, 4.3, 7.9, 16.4]
    fitted = fit_weighted_line(xs, ys, equal_sigma(ys, 0.3))
    _, covariance = np.polyfit(xs, ys, 1, w=[1 / 0.3] * 5, cov="unscaled")
    chi2 = sum(((y - np.polyval(np.polyfit(xs, ys, 1), x)) / 0.3) ** 2 for x, y in zip(xs, ys, strict=True))
    reach = stats.t.ppf(0.975, 3) * np.sqrt(max(1, chi2 / 3))
    assert fitted.slope.high - fitted.slope.point == pytest.approx(reach * np.sqrt(covariance[0, 0]))
    assert fitted.intercept.point - fitted.intercept.low == pytest.approx(reach * np.sqrt(covariance[1, 1]))


def test_scatter_beyond_the_points_own_noise_widens_to_scipys_interval():
    xs, ys = [1, 2, 4, 8, 16], [1.5, 1.4, 5.1, 7.0, 17.2]
    fitted = fit_weighted_line(xs, ys, equal_sigma(ys, 0.18))
    expected = stats.linregress(xs, ys)
    reach = stats.t.ppf(0.975, 3)
    assert fitted.slope.high - fitted.slope.point == pytest.approx(reach * expected.stderr)
    assert fitted.intercept.high - fitted.intercept.point == pytest.approx(reach * expected.intercept_stderr)


def test_the_power_is_the_slope_of_the_logarithms():
    xs, ys = [16, 64, 256, 1024], [0.011, 0.035, 0.18, 1.1]
    fitted = fit_power(xs, ys, [None] * 4)
    expected = stats.linregress(np.log(xs), np.log(ys))
    assert fitted.slope.point == pytest.approx(expected.slope)
    assert np.exp(fitted.intercept.point) == pytest.approx(np.exp(expected.intercept))


@repeatable
@given(st.floats(1e-5, 1.0), st.floats(1e-6, 1.0))
def test_an_exact_line_is_found_and_followed(a, b):
    ys = [a + b * x for x in BATCHES]
    fitted = fit_weighted_line(BATCHES, ys, [None] * len(ys))
    assert fitted.intercept.point == pytest.approx(a, rel=1e-6, abs=1e-9 * ys[-1])
    assert fitted.slope.point == pytest.approx(b, rel=1e-6, abs=1e-9 * ys[-1])
    assert fitted.follows and fitted.misfit < 1e-6
    assume(a > 1e-6 * ys[-1] and fitted.slope.low > 0)
    batch = fitted.at_share.point
    assert batch == pytest.approx(9 * a / b, rel=1e-4)
    assert batch / (a + b * batch) == pytest.approx(0.9 / b, rel=1e-4)  # what it is named after


@repeatable
@given(st.floats(0.1, 4.0), positive)
def test_an_exact_power_is_found_whatever_its_scale(exponent, scale):
    ys = [scale * x**exponent for x in BATCHES]
    fitted = fit_power(BATCHES, ys, [None] * len(ys))
    assert fitted.slope.point == pytest.approx(exponent)
    assert fitted.at_share is None and fitted.follows


@pytest.mark.parametrize("knee", [4, 8])
def test_a_machine_that_saturates_follows_no_line(knee):
    ys = [0.001 * max(knee, x) for x in BATCHES]
    fitted = fit_weighted_line(BATCHES, ys, [0.01 * y for y in ys])
    assert not fitted.follows
    assert fitted.misfit > 0.1


def test_noise_that_the_points_admit_is_no_misfit():
    ys = [1.0, 1.2, 1.25, 1.9, 2.6, 4.3]
    assert fit_weighted_line(BATCHES, ys, [0.4 * y for y in ys]).follows
    assert not fit_weighted_line(BATCHES, [1.0, 1.5, 1.0, 1.9, 2.6, 4.3], [0.01] * 6).follows


def test_times_that_fall_with_the_batch_follow_no_line():
    fitted = fit_weighted_line((1, 2, 3), (1.0, 0.99, 0.98), [None] * 3)
    assert not fitted.follows and fitted.at_share is None


def test_a_line_through_the_origin_has_no_overhead_and_no_batch():
    assert fit_weighted_line((1, 2, 4), (0.9, 1.9, 3.9), [None] * 3).at_share is None


@pytest.mark.parametrize("fit", [fit_weighted_line, fit_power])
def test_two_sizes_are_no_fit(fit):
    assert fit((1, 2), (1.0, 2.0), (None, None)) is None
    assert fit((1, 2, 2), (1.0, 2.0, 2.1), (None,) * 3) is None
    assert fit((), (), ()) is None


@pytest.mark.parametrize(
    ("xs", "ys", "halves"),
    [
        ((1, 2, 3), (1.0, 2.0), (None,) * 3),
        ((1, 2, 3), (1.0, 2.0, 0.0), (None,) * 3),
        ((1, 2, 3), (1.0, 2.0, float("nan")), (None,) * 3),
        ((1, 2, 3), (1.0, 2.0, 3.0), (None, None, float("inf"))),
    ],
)
@pytest.mark.parametrize("fit", [fit_weighted_line, fit_power])
def test_what_cannot_be_a_time_is_an_error(fit, xs, ys, halves):
    with pytest.raises(ValueError, match=r"\d|needed"):
        fit(xs, ys, halves)


def test_the_intervals_cover_what_they_claim():
    rng = np.random.default_rng(1)
    inside = np.zeros(2)
    runs = 400
    for _ in range(runs):
        truth = np.array([1e-3, 2e-4])
        clean = truth[0] + truth[1] * np.array(BATCHES)
        ys = clean * (1 + 0.02 * rng.standard_normal(len(BATCHES)))
        fitted = fit_weighted_line(BATCHES, list(ys), [0.02 * stats.norm.ppf(0.975) * y for y in ys])
        for index, (estimate, value) in enumerate(zip((fitted.intercept, fitted.slope), truth, strict=True)):
            inside[index] += estimate.low <= value <= estimate.high
    assert (inside / runs > 0.94).all()  # nominal 0.95; never narrower than the points' own noise, so a little wide


def test_a_point_without_an_interval_counts_no_more_than_the_widest_other():
    xs, ys = (1, 2, 4, 8), (1.0, 2.2, 3.9, 9.0)
    unknown = fit_weighted_line(xs, ys, (0.1, 0.2, 0.9, None))
    share = 0.9 / 3.9
    assert unknown == fit_weighted_line(xs, ys, (0.1, 0.2, 0.9, share * 9.0))


def test_a_slope_that_noise_could_make_gives_no_batch():
    fitted = fit_weighted_line((1, 2, 4), (1.0, 1.1, 1.05), [0.2] * 3)
    assert fitted.slope.point > 0 > fitted.slope.low
    assert fitted.at_share is None
