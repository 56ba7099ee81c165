"""How cost grows: a line in the batch size, a power in depth, width or sequence length; each with its misfit.

    line       seconds = a + b * batch      a: what a step costs whatever the batch (launches, the optimizer)
                                            b: what one more example costs
               throughput = batch / seconds tends to 1 / b and reaches 90 % of it at batch 9 a / b
    power      seconds ~ size^k             k: slope of log seconds on log size

Weighted least squares. The weight of a point is 1 / sigma^2; sigma comes from the point's own 95 % interval, but is
never below 1 % of the point: the interval of one process does not contain what the next would differ by (about 2 %).
Few points lie near any line by luck, so intervals use Student's t with n - 2 degrees of freedom, and where the points
scatter more than their sigma says, the covariance is scaled up by chi^2 / (n - 2) (Birge, Phys. Rev. 40 (1932) 207).
A machine that saturates follows no line: `misfit` says by how much the worst point misses it, and `follows` is False
where that is more than noise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.core.estimate import Estimate
from bench.stats.checked import Floats, finite
from bench.stats.distributions import normal_quantile, student_t_quantile

MIN_POINTS = 3
"""Two points lie on every line: nothing could show that it is none."""

LEAST_SIGMA = 0.01
"""Of a point, as a fraction of it."""

MISFIT_LIMIT = 0.10
MISFIT_SIGMAS = 3.0
"""A point that misses the fit by more than both does not follow it."""

PEAK_SHARE = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A fit of two parameters.

    Attributes:
        intercept: At 0; of a power, the logarithm of the value at size 1.
        slope: Per unit; of a power, the exponent.
        at_share: Batch at which the throughput is 90 % of its limit, 9 a / b; None where a is not above 0 or b is not
            known to be, and for a power.
        misfit: Of the worst point, |point / fit - 1|.
        follows: Whether no point misses the fit by more than noise.
    """

    intercept: Estimate
    slope: Estimate
    at_share: Estimate | None
    misfit: float
    follows: bool


def fit_line(
    sizes: Sequence[float], points: Sequence[float], halves: Sequence[float | None], *, confidence: float = 0.95
) -> Fitted | None:
    """Fit points = a + b * size.

    Args:
        sizes: Batch sizes.
        points: Seconds of a step, one per size.
        halves: Half of each point's 95 % interval; None where it has none, which counts as the widest of the others.
        confidence: Of the intervals.

    Returns:
        None for fewer than three different sizes.

    Raises:
        ValueError: A point that is not positive, a value that is not finite, or sequences of different lengths.
    """
    x, y, sigma = _checked(sizes, points, halves)
    if np.unique(x).size < MIN_POINTS:
        return None
    coefficients, covariance = _least_squares(x, y, sigma)
    fitted = coefficients[0] + coefficients[1] * x
    return Fitted(
        intercept=_estimate(coefficients[0], covariance[0, 0], x.size, confidence),
        slope=_estimate(coefficients[1], covariance[1, 1], x.size, confidence),
        at_share=_at_share(coefficients, covariance, x.size, confidence),
        misfit=float(np.max(np.abs(y - fitted) / y)),
        follows=bool(coefficients[1] > 0 and _follows(y, fitted, sigma)),
    )


def fit_power(
    sizes: Sequence[float], points: Sequence[float], halves: Sequence[float | None], *, confidence: float = 0.95
) -> Fitted | None:
    """Fit log points = log c + k * log size; as `fit_line`, with sizes above 0.

    Raises:
        ValueError: A size or point that is not positive, or sequences of different lengths.
    """
    x, y, sigma = _checked(sizes, points, halves)
    if x.size and x.min() <= 0:
        raise ValueError(f"a size is above 0, found {x.min()}")
    if np.unique(x).size < MIN_POINTS:
        return None
    coefficients, covariance = _least_squares(np.log(x), np.log(y), sigma / y)
    fitted = np.exp(coefficients[0] + coefficients[1] * np.log(x))
    return Fitted(
        intercept=_estimate(coefficients[0], covariance[0, 0], x.size, confidence),
        slope=_estimate(coefficients[1], covariance[1, 1], x.size, confidence),
        at_share=None,
        misfit=float(np.max(np.abs(y - fitted) / y)),
        follows=_follows(y, fitted, sigma),
    )


def _checked(
    sizes: Sequence[float], points: Sequence[float], halves: Sequence[float | None]
) -> tuple[Floats, Floats, Floats]:
    x, y = finite(sizes, "sizes"), finite(points, "points")
    if not (x.size == y.size == len(halves)):
        raise ValueError(f"one point and one half width per size are needed, found {x.size}, {y.size}, {len(halves)}")
    if y.size and y.min() <= 0:
        raise ValueError(f"a point is above 0, found {y.min()}")
    known = finite([0.0 if half is None else half for half in halves], "half widths") / normal_quantile(0.975) / y
    widest = max(LEAST_SIGMA, known.max(initial=0.0))
    shares = [widest if half is None else max(LEAST_SIGMA, share) for half, share in zip(halves, known, strict=True)]
    return x, y, y * np.array(shares)


def _least_squares(x: Floats, y: Floats, sigma: Floats) -> tuple[Floats, Floats]:
    """Solve the normal equations about the weighted centre, where they are well conditioned."""
    weights = 1 / sigma**2
    total = weights.sum()
    centre = (weights * x).sum() / total
    spread = (weights * (x - centre) ** 2).sum()
    slope = (weights * (x - centre) * y).sum() / spread
    level = (weights * y).sum() / total
    intercept = level - slope * centre
    chi2 = (weights * (y - intercept - slope * x) ** 2).sum()
    scale = max(1.0, float(chi2) / (x.size - 2))
    covariance = scale * np.array(
        [[1 / total + centre**2 / spread, -centre / spread], [-centre / spread, 1 / spread]], dtype=np.float64
    )
    return np.array([intercept, slope], dtype=np.float64), covariance


def _estimate(point: float, variance: float, n: int, confidence: float) -> Estimate:
    reach = student_t_quantile((1 + confidence) / 2, n - 2) * math.sqrt(variance)
    return Estimate(
        point=float(point),
        low=float(point) - reach,
        high=float(point) + reach,
        confidence=confidence,
        n=n,
        n_effective=float(n),
        method="weighted least squares; Student t, scaled by the Birge ratio",
    )


def _at_share(coefficients: Floats, covariance: Floats, n: int, confidence: float) -> Estimate | None:
    """Return the batch of 90 % throughput: n / (a + b n) = 0.9 / b gives n = 9 a / b; by the delta method."""
    a, b = float(coefficients[0]), float(coefficients[1])
    least_b = _estimate(b, covariance[1, 1], n, confidence).low
    if a <= 0 or least_b is None or least_b <= 0:
        return None
    factor = PEAK_SHARE / (1 - PEAK_SHARE)
    gradient = np.array([factor / b, -factor * a / b**2])
    estimate = _estimate(factor * a / b, float(gradient @ covariance @ gradient), n, confidence)
    low, high = estimate.low, estimate.high
    assert low is not None and high is not None
    return Estimate(
        point=estimate.point,
        low=max(low, 0.0),
        high=high,
        confidence=confidence,
        n=n,
        n_effective=float(n),
        method="9 a / b of the line; delta method",
    )


def _follows(y: Floats, fitted: Floats, sigma: Floats) -> bool:
    missed = np.abs(y - fitted)
    return not bool(np.any((missed > MISFIT_LIMIT * y) & (missed > MISFIT_SIGMAS * sigma)))
