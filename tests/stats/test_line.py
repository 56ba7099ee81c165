from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from bench.stats.scaling import fit_line


def test_a_line_without_noise_is_found() -> None:
    line = fit_line([1, 2, 5], [3.0, 5.0, 11.0])
    assert line is not None
    assert (line.intercept, line.slope, line.half_width) == pytest.approx((1.0, 2.0, 0.0))


def test_slope_and_interval_are_scipy_s() -> None:
    random = np.random.default_rng(0)
    xs = random.uniform(0, 10, 30)
    ys = 4 - 0.3 * xs + random.normal(0, 0.5, 30)
    line, theirs = fit_line(xs.tolist(), ys.tolist()), stats.linregress(xs, ys)
    assert line is not None
    assert line.half_width is not None
    assert (line.slope, line.intercept) == pytest.approx((theirs.slope, theirs.intercept))
    assert line.half_width == pytest.approx(theirs.stderr * stats.t.ppf(0.975, 28), rel=1e-6)


def test_two_points_have_no_interval_and_one_x_no_line() -> None:
    line = fit_line([1, 2], [1.0, 3.0])
    assert line is not None
    assert line.half_width is None
    assert fit_line([2, 2, 2], [1.0, 2.0, 3.0]) is None
    with pytest.raises(ValueError, match="every x"):
        fit_line([1], [1.0, 2.0])
