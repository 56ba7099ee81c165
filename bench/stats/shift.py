"""How far two sides are apart: the Hodges-Lehmann shift of session values and its exact interval.

The shift is the median of the Walsh averages (d_i + d_j) / 2, i <= j (Hodges and Lehmann, Ann. Math. Statist. 34 (1963)
598). One wild session hardly moves it, and it loses only 5 % against the mean where sessions are Gaussian. Its interval
inverts Wilcoxon's signed-rank test: with W the null distribution of the signed-rank sum, the ends are the c-th smallest
and c-th largest Walsh average (Tukey 1949; Hollander and Wolfe, "Nonparametric Statistical Methods", section 3.3).
It assumes that sessions are independent and their values symmetric about the shift.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from bench.core.estimate import Estimate
from bench.stats.checked import Floats, finite, fraction
from bench.stats.distributions import normal_quantile

EXACT_LIMIT = 50
"""Up to so many values the signed-rank distribution is counted; above, its normal approximation is within one rank."""


def walsh_averages(values: Sequence[float] | Floats) -> Floats:
    """Return the n (n + 1) / 2 averages of all pairs, each value with itself included, sorted."""
    array = finite(values)
    first, second = np.triu_indices(array.size)
    # halves are added, not sums halved: the largest floats must not overflow
    return np.sort(array[first] / 2 + array[second] / 2)


def hodges_lehmann(values: Sequence[float] | Floats) -> float:
    """Return the median of the Walsh averages.

    Raises:
        ValueError: No value, or one that is not finite.
    """
    averages = walsh_averages(values)
    if averages.size == 0:
        raise ValueError("the shift of no values was asked for")
    return float(np.median(averages))


def estimate_shift(values: Sequence[float] | Floats, *, confidence: float = 0.95) -> Estimate:
    """Estimate the shift with an interval that covers it with at least `confidence`, exactly.

    Returns:
        Low and high are None where not even the whole range reaches the confidence: below 6 values at 95 %.

    Raises:
        ValueError: No value, or one that is not finite.
    """
    fraction(confidence, "confidence")
    averages = walsh_averages(values)
    n = len(values)
    if n == 0:
        raise ValueError("the shift of no values was asked for")
    rank = walsh_rank(n, confidence)
    return Estimate(
        point=float(np.median(averages)),
        low=None if rank is None else float(averages[rank - 1]),
        high=None if rank is None else float(averages[-rank]),
        confidence=confidence,
        n=n,
        n_effective=float(n),
        method=f"Hodges-Lehmann; {'exact' if n <= EXACT_LIMIT else 'normal'} signed-rank interval",
    )


@functools.lru_cache(maxsize=256)
def walsh_rank(n: int, confidence: float) -> int | None:
    """Return the largest c for which c-th smallest and c-th largest Walsh average are the interval; None if none is.

    The true shift lies below the c-th smallest average with probability P(W <= c - 1).
    """
    tail = (1 - confidence) / 2
    if n > EXACT_LIMIT:
        mean, deviation = n * (n + 1) / 4, (n * (n + 1) * (2 * n + 1) / 24) ** 0.5
        return int(mean + normal_quantile(tail) * deviation)
    below = np.searchsorted(np.cumsum(signed_rank_counts(n)), tail * (1 + 1e-12) * 2.0**n, side="right")
    return int(below) or None


def signed_rank_counts(n: int) -> Floats:
    """Count for each w in 0 .. n (n + 1) / 2 how many of the 2^n sign patterns have signed-rank sum w.

    Rank r is either in the sum or not: multiply out prod_r (1 + x^r). Exact in floats up to 2^53, that is n = 53.
    """
    counts = np.zeros(n * (n + 1) // 2 + 1)
    counts[0] = 1
    for rank in range(1, n + 1):
        counts[rank:] += counts[:-rank].copy()
    return counts
