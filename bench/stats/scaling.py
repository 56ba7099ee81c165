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

A straight line through measured points: a fixed cost and a cost per unit.

Cells of a run that differ in one size only, and what their times say of it.

The sizes are the batch, and every whole-number option of a model that the specs spell out: `mlp@depth=2`, `mlp@depth=4`
and `mlp@depth=8` are a group along `depth`. A group exists from two sizes on; a fit needs three.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np

from bench.core.cell import Cell
from bench.core.estimate import CONFIDENCE, Estimate
from bench.core.record import Outcome, Phase, Record
from bench.core.text import SPEC_OPTIONS
from bench.stats.distributions import Floats, finite, student_t_quantile
from bench.stats.summary import estimate_phase, flops_total

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
        intercept: Intercept at 0; of a power, the logarithm of the value at size 1.
        slope: Per unit; of a power, the exponent.
        at_share: Batch at which the throughput is 90 % of its limit, 9 a / b; None where a is not above 0 or b is not
            known to be, and for a power.
        misfit: Deviation of the worst point, |point / fit - 1|.
        follows: Whether no point misses the fit by more than noise.
    """

    intercept: Estimate
    slope: Estimate
    at_share: Estimate | None
    misfit: float
    follows: bool


def fit_weighted_line(sizes: Sequence[float], points: Sequence[float], halves: Sequence[float | None]) -> Fitted | None:
    """Fit points = a + b * size.

    Args:
        sizes: Batch sizes.
        points: Seconds of a step, one per size.
        halves: Half of each point's 95 % interval; None where it has none, which counts as the widest of the others.

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
        intercept=_estimate(coefficients[0], covariance[0, 0], x.size),
        slope=_estimate(coefficients[1], covariance[1, 1], x.size),
        at_share=_at_share(coefficients, covariance, x.size),
        misfit=float(np.max(np.abs(y - fitted) / y)),
        follows=bool(coefficients[1] > 0 and _follows(y, fitted, sigma)),
    )


def fit_power(sizes: Sequence[float], points: Sequence[float], halves: Sequence[float | None]) -> Fitted | None:
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
        intercept=_estimate(coefficients[0], covariance[0, 0], x.size),
        slope=_estimate(coefficients[1], covariance[1, 1], x.size),
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
    known = finite([0.0 if half is None else half for half in halves], "half widths") / NormalDist().inv_cdf(0.975) / y
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


def _estimate(point: float, variance: float, n: int) -> Estimate:
    reach = student_t_quantile((1 + CONFIDENCE) / 2, n - 2) * math.sqrt(variance)
    return Estimate(
        point=float(point),
        low=float(point) - reach,
        high=float(point) + reach,
        confidence=CONFIDENCE,
        n=n,
        n_effective=float(n),
        method="weighted least squares; Student t, scaled by the Birge ratio",
    )


def _at_share(coefficients: Floats, covariance: Floats, n: int) -> Estimate | None:
    """Return the batch of 90 % throughput: n / (a + b n) = 0.9 / b gives n = 9 a / b; by the delta method."""
    a, b = float(coefficients[0]), float(coefficients[1])
    least_b = _estimate(b, covariance[1, 1], n).low
    if a <= 0 or least_b is None or least_b <= 0:
        return None
    factor = PEAK_SHARE / (1 - PEAK_SHARE)
    gradient = np.array([factor / b, -factor * a / b**2])
    estimate = _estimate(factor * a / b, float(gradient @ covariance @ gradient), n)
    return replace(estimate, low=max(estimate.low or 0.0, 0.0), method="9 a / b of the line; delta method")


def _follows(y: Floats, fitted: Floats, sigma: Floats) -> bool:
    missed = np.abs(y - fitted)
    return not bool(np.any((missed > MISFIT_LIMIT * y) & (missed > MISFIT_SIGMAS * sigma)))


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


BATCH = "batch_size"
_MANY = 2**30  # no batch of a group; stands for "any" in its key


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """One group and its fit; each figure None where it cannot be had, and `reason` says why.

    Attributes:
        group: Name for people, with `*` for the size: `mlp@depth=*/train/b8/cpu/fp32`.
        axis: `batch_size`, or the option.
        sizes: Sizes that were measured, rising; one that failed is left out.
        seconds: Median of the step at each.
        overhead_seconds: Along the batch: time of a step beyond what its examples cost.
        example_seconds: Along the batch: what one more example costs.
        batch_of_90_percent: Along the batch: where throughput reaches 90 % of its limit.
        exponent: Along an option: k of seconds ~ size^k.
        flops_exponent: The same of the step's FLOPs; along the batch too.
        misfit: How far the worst point is from the fit, as a fraction.
        follows: Whether the points follow the fit within noise; None without a fit.
    """

    group: str
    axis: str
    sizes: tuple[int, ...]
    seconds: tuple[float, ...]
    overhead_seconds: Estimate | None = None
    example_seconds: Estimate | None = None
    batch_of_90_percent: Estimate | None = None
    exponent: Estimate | None = None
    flops_exponent: float | None = None
    misfit: float | None = None
    follows: bool | None = None
    reason: str | None = None


def scalings(records: Sequence[Record], steps: Mapping[str, Estimate | None] | None = None) -> tuple[Scaling, ...]:
    """Fit every group of a run, along the batch first; () where no group has three sizes.

    `steps` are what `estimate_phase` says, by the cell's key, if it was asked already.
    """
    groups: dict[tuple[str, str, Cell], dict[int, Record]] = {}
    for record in records:
        for axis, size, name, rest in _sizes(record.cell):
            groups.setdefault((axis, name, rest), {}).setdefault(size, record)
    several = {key: found for key, found in groups.items() if len(found) > 1}
    if all(len(found) < MIN_POINTS for found in several.values()):
        return ()
    ordered = sorted(several.items(), key=lambda item: item[0][0] != BATCH)
    return tuple(_scaling(axis, name, found, steps or {}) for (axis, name, _), found in ordered)


def _sizes(cell: Cell) -> Iterator[tuple[str, int, str, Cell]]:
    """Yield every size of a cell: axis, value, name of the group, and the cell without it."""
    rest = replace(cell, batch_size=_MANY)
    yield BATCH, cell.batch_size, rest.id.replace(f"b{_MANY}", "b*"), rest
    name, *options = SPEC_OPTIONS.split(cell.model, maxsplit=1)
    pairs = [pair.partition("=") for pair in options[0].split(",")] if options else []
    for index, (key, _, value) in enumerate(pairs):
        if value.isdecimal() and int(value) > 0:
            others = [f"{k}={'*' if i == index else v}" for i, (k, _, v) in enumerate(pairs)]
            rest = replace(cell, model=f"{name}@{','.join(others)}")
            yield key, int(value), rest.id, rest


def _scaling(axis: str, name: str, found: dict[int, Record], known: Mapping[str, Estimate | None]) -> Scaling:
    measured = {size: record for size, record in sorted(found.items()) if record.outcome is Outcome.OK}
    estimates = {
        size: known[record.cell.key] if record.cell.key in known else estimate_phase(record, Phase.STEP)
        for size, record in measured.items()
    }
    steps = {size: step for size, step in estimates.items() if step is not None and step.point > 0}
    sizes, points = tuple(steps), [step.point for step in steps.values()]
    scaling = Scaling(group=name, axis=axis, sizes=sizes, seconds=tuple(points))
    halves = [step.half_width for step in steps.values()]
    fitted = (fit_weighted_line if axis == BATCH else fit_power)(sizes, points, halves)
    if fitted is None:
        return replace(scaling, reason=f"{len(sizes)} sizes were measured; a fit needs {MIN_POINTS}")
    flops = [flops_total(measured[size]) for size in sizes]
    counted = [count for count in flops if count]
    exponent = fit_power(sizes, counted, halves=[None] * len(counted)) if len(counted) == len(sizes) else None
    scaling = replace(
        scaling,
        flops_exponent=exponent.slope.point if exponent else None,
        misfit=fitted.misfit,
        follows=fitted.follows,
        reason=_doubt(axis, fitted),
    )
    if axis != BATCH:
        return replace(scaling, exponent=fitted.slope)
    return replace(
        scaling,
        overhead_seconds=fitted.intercept,
        example_seconds=fitted.slope,
        batch_of_90_percent=fitted.at_share if fitted.follows else None,
    )


def _doubt(axis: str, fitted: Fitted) -> str | None:
    kind = "line" if axis == BATCH else "power"
    if not fitted.follows:
        return f"the times follow no {kind}: one is {100 * fitted.misfit:.0f} % off"
    if fitted.misfit > MISFIT_LIMIT:
        return f"one time is {100 * fitted.misfit:.0f} % off, which its own noise allows: measure longer"
    if axis == BATCH and fitted.at_share is None and fitted.intercept.point <= 0:
        return "no overhead was seen: the line meets batch 0 at no time above 0"
    if axis == BATCH and fitted.at_share is None:
        return "what one more example costs is not known apart from noise"
    return None
