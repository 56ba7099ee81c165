"""Where a history bends: least-cost segmentation of a series with AR(1) noise.

One value per commit or night is autocorrelated (the machine's slow moods). A search that takes such moods for level
shifts marks most series without any. So each segment has a level, and the noise around it is AR(1):

    x_t = level + n_t,   n_t = phi n_(t-1) + e_t      =>      x_t - phi x_(t-1) = (1 - phi) level + e_t

For each phi of a grid:
    whiten: z_t = x_t - phi x_(t-1)
    cost of a segment = squared error of z about its mean, without the segment's first z, which mixes two levels
    for k = 0, 1, ...: the k change points of least total cost, by dynamic programming (exact, O(k n^2))
        the same change points with the mixed z included: least squares of z on all levels -> error
keep the phi and k of least  (n - 1) log(error / (n - 1)) + PENALTY k log(n - 1)

The last fit is there because a z that is left out would excuse any single outlier, and leaves the place open by one.

Sources: exact segmentation, Auger and Lawrence, Bull. Math. Biol. 51 (1989) 39; optimal partitioning, Jackson et al.,
IEEE Signal Process. Lett. 12 (2005) 105; segmentation under AR(1) noise, Chakar, Lebarbier, Levy-Leduc and Robin,
Bernoulli 23 (2017) 1408; a penalty by description length, Davis, Lee and Rodriguez-Yam, JASA 101 (2006) 223.

History nominates suspects; it never judges. That is for `bench ab`.

What the past of a series says of its next value: a prediction interval under AR(1) noise.

    x_t = level + n_t,   n_t = phi n_(t-1) + e_t      =>      x_(n+1) ~ level + phi (x_n - level)

level   mean of the past
phi     lag-1 autocorrelation freed of the bias of short series, (n rho(1) + 1) / (n - 4), kept within 0 .. 0.95
        (Marriott and Pope, Biometrika 41 (1954) 390); negative values are left out, because moods do not alternate
s^2     squared one-step errors over n - 3: a level and phi were fitted, and the first value has no predecessor
var     s^2 (1 + 1/n) + (x_n - level)^2 (1 - phi^2) / n: the next error, the level's error ((1 - phi) times it, of
        variance s^2 / (n (1 - phi)^2)), and that of phi
interval = point -+ t_(n-3) sqrt(var)

Without the autoregressive term the interval is centred on the level and as wide as the whole series: then a mood that
goes on is called a change, or a jump within a mood is missed. Assumes noise that is nearly Gaussian: pass logs of
durations. The rate of false alarms is simulated in tests/stats/test_prediction.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.stats.distributions import Floats, finite, fraction, student_t_quantile
from bench.stats.estimate import autocorrelations

PENALTY = 4.0
"""Times log n per change point.

A change point adds two fitted numbers, a level and a place. Schwarz's criterion counts 1 for each, description length 2
for a place; the rest pays for the search over all places. Series without a change were marked in 0 to 3 % at 4, in 10 %
at worst (n = 30, phi = 0.8); in up to 28 % at 3 (n 30 to 120, phi 0 to 0.9, 80 series each). With phi held at 0, in 45
to 66 % where it was 0.8 and in 68 to 98 % where it was 0.9.
"""

SHORTEST = 3
"""Values per segment. Two leave a single z, which fits anything."""

PHI_GRID = tuple(np.linspace(0.0, 0.95, 20).tolist())
"""Candidates; negative ones are left out, because a machine's moods do not alternate."""

LONGEST = 2000
"""Values per series; the tables take 8 n^2 bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segmentation:
    """Levels of a series and where they change.

    Attributes:
        change_points: Index of the first value of each new level, ascending; empty where the series has one level.
        levels: Median of each segment, one more than change points.
        phi: Autocorrelation of the noise at lag 1 that fits best, 0 to 0.95.
    """

    change_points: tuple[int, ...]
    levels: tuple[float, ...]
    phi: float


def find_change_points(
    values: Sequence[float], *, autoregressive: bool = True, penalty: float = PENALTY, most: int = 10
) -> Segmentation:
    """Segment a series into levels under AR(1) noise.

    Args:
        values: One per commit or night, oldest first. Use logs where shifts are relative.
        autoregressive: False holds phi at 0, as common tools do: there to show how often they alarm.
        penalty: Times log n, per change point.
        most: Largest number of change points.

    Returns:
        Fewer than 2 `SHORTEST` values have no change point.

    Raises:
        ValueError: No value, more than `LONGEST`, or one that is not finite.
    """
    array = finite(values)
    n = array.size
    if not 1 <= n <= LONGEST:
        raise ValueError(f"a series of 1 to {LONGEST} values can be segmented, found {n}; pass the newest")
    scale = float(np.abs(array - np.median(array)).max())
    if n < 2 * SHORTEST or scale <= 1e-12 * float(np.abs(array).max()):
        return Segmentation(change_points=(), levels=(float(np.median(array)),), phi=0.0)
    scaled = (array - np.median(array)) / scale
    least, best_phi = math.inf, 0.0
    points: tuple[int, ...] = ()
    for phi in PHI_GRID if autoregressive else (0.0,):
        found = _segment(scaled, phi, penalty, min(most, n // SHORTEST - 1), least)
        if found is not None:
            (least, points), best_phi = found, phi
    levels = tuple(float(np.median(part)) for part in np.split(array, points))
    return Segmentation(change_points=points, levels=levels, phi=best_phi)


def _segment(x: Floats, phi: float, penalty: float, most: int, limit: float) -> tuple[float, tuple[int, ...]] | None:
    """Return the best criterion below `limit` for one phi, with its change points; None if there is none."""
    n = x.size
    best = None

    def criterion(error: float, k: int) -> float:
        floor = 1e-12  # of a series scaled to 1: an exact step would reach log 0
        return (n - 1) * math.log(max(error / (n - 1), floor)) + penalty * k * math.log(n - 1)

    for cost, points in _least_cost(_segment_costs(x, phi), most):
        if criterion(cost, len(points)) >= limit:  # the fit with all z is never better: spare it
            continue
        error, placed = _fit_all(x, phi, points)
        if criterion(error, len(points)) < limit:
            limit = criterion(error, len(points))
            best = (limit, placed)
    return best


def _least_cost(costs: Floats, most: int) -> Iterator[tuple[float, tuple[int, ...]]]:
    """Yield for 0, 1, ... `most` change points the least total cost and where they lie."""
    n = len(costs) - 1
    least = costs[0]  # least[e]: cost of the first e values with k change points
    came_from: list[NDArray[np.intp]] = []
    for k in range(most + 1):
        points, end = [], n
        for back in reversed(came_from):
            end = int(back[end])
            points.append(end)
        yield float(least[n]), tuple(reversed(points))
        if k < most:
            table = least[:, None] + costs
            came_from.append(table.argmin(axis=0))
            least = table.min(axis=0)


def _fit_all(x: Floats, phi: float, points: tuple[int, ...]) -> tuple[float, tuple[int, ...]]:
    """Return the squared error with every z included, and the change points, each moved up by one where that fits."""
    error, placed = _squared_error(x, phi, points), points
    for i, point in enumerate(points):
        moved = (*placed[:i], point + 1, *placed[i + 1 :])
        if (other := _squared_error(x, phi, moved)) < error:
            error, placed = other, moved
    return error, placed


def _squared_error(x: Floats, phi: float, points: tuple[int, ...]) -> float:
    """Fit all levels together: z_t = level of t - phi times the level of t - 1 + e_t; return the sum of e^2."""
    member = np.searchsorted(points, np.arange(x.size), side="right")
    inside = (member[:, None] == np.arange(len(points) + 1)).astype(np.float64)
    design, z = inside[1:] - phi * inside[:-1], x[1:] - phi * x[:-1]
    normal = design.T @ design  # small and, with three values per level, never singular
    residual = z - design @ np.linalg.solve(normal, design.T @ z)
    return float(residual @ residual)


def _segment_costs(x: Floats, phi: float) -> Floats:
    """Return costs[s, e]: squared error of z over values s .. e - 1 without the first; infinity where too short."""
    n = x.size
    z = np.concatenate([[0.0], x[1:] - phi * x[:-1]])
    sums, squares = np.concatenate([[0.0], np.cumsum(z)]), np.concatenate([[0.0], np.cumsum(z * z)])
    start, end = np.arange(n + 1)[:, None], np.arange(n + 1)[None, :]
    inside = end - start >= SHORTEST
    first = np.minimum(start + 1, n)
    count = np.where(inside, end - first, 1)
    total = sums[end] - sums[first]
    errors = squares[end] - squares[first] - total**2 / count
    return np.where(inside, np.maximum(errors, 0.0), np.inf)


FEWEST = 8
"""Values of the past; below, the spread is known to within a factor of two only."""

_LARGEST_PHI = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """Where the next value of a series is expected.

    Attributes:
        level: Mean of the past.
        point: Expected next value: between the level and the last value.
        low: Lower end of the interval that holds it with `confidence`.
        n: Values of the past.
    """

    level: float
    point: float
    low: float
    high: float
    confidence: float
    phi: float
    n: int

    def holds(self, value: float) -> bool:
        """Whether a value lies within the interval."""
        return self.low <= value <= self.high


def predict_next(values: Sequence[float], *, confidence: float = 0.99) -> Prediction | None:
    """Predict the next value of a series, oldest value first.

    Returns:
        None for fewer than `FEWEST` values.

    Raises:
        ValueError: A value is not finite, or the confidence no probability.
    """
    fraction(confidence, "confidence")
    array = finite(values)
    n = array.size
    if n < FEWEST:
        return None
    level = float(array.mean())
    rho = float(autocorrelations(array)[1])
    phi = min(max((n * rho + 1) / (n - 4), 0.0), _LARGEST_PHI) if rho else 0.0
    centred = array - level
    errors = centred[1:] - phi * centred[:-1]
    last = float(centred[-1])
    variance = float(errors @ errors) / (n - 3) * (1 + 1 / n) + last**2 * (1 - phi**2) / n
    half = student_t_quantile((1 + confidence) / 2, n - 3) * math.sqrt(variance)
    point = level + phi * last
    return Prediction(
        level=level, point=point, low=point - half, high=point + half, confidence=confidence, phi=phi, n=int(n)
    )
