"""A straight line through measured points: a fixed cost and a cost per unit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.stats.checked import finite
from bench.stats.distributions import student_t_quantile


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """y = intercept + slope x by least squares.

    Attributes:
        half_width: Of the 95 % interval of the slope (Student's t, n - 2 degrees of freedom); None for two points,
            which any line fits.
        n: Points.
    """

    intercept: float
    slope: float
    half_width: float | None
    n: int


def fit_line(xs: Sequence[float], ys: Sequence[float]) -> Line | None:
    """Fit a line; None where all points have the same x.

    Raises:
        ValueError: The lengths differ, or a value is not finite.
    """
    if len(xs) != len(ys):
        raise ValueError(f"every x needs a y, found {len(xs)} and {len(ys)}")
    x, y = finite(xs, "xs"), finite(ys, "ys")
    if x.size < 2 or float(np.ptp(x)) == 0:
        return None
    dx = x - x.mean()
    spread = float(dx @ dx)
    slope = float(dx @ (y - y.mean())) / spread
    intercept = float(y.mean()) - slope * float(x.mean())
    half_width = None
    if x.size > 2:
        residuals = y - intercept - slope * x
        error = math.sqrt(float(residuals @ residuals) / (x.size - 2) / spread)
        half_width = student_t_quantile(0.975, int(x.size) - 2) * error
    return Line(intercept=intercept, slope=slope, half_width=half_width, n=int(x.size))
