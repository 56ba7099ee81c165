"""How far two sides are apart: the Hodges-Lehmann shift of session values and its exact interval.

The shift is the median of the Walsh averages (d_i + d_j) / 2, i <= j (Hodges and Lehmann, Ann. Math. Statist. 34 (1963)
598). One wild session hardly moves it, and it loses only 5 % against the mean where sessions are Gaussian. Its interval
inverts Wilcoxon's signed-rank test: with W the null distribution of the signed-rank sum, the ends are the c-th smallest
and c-th largest Walsh average (Tukey 1949; Hollander and Wolfe, "Nonparametric Statistical Methods", section 3.3).
It assumes that sessions are independent and their values symmetric about the shift.

One A/B session to one number: the log-ratio head / base of a cell.

A visit is an uninterrupted block of steps of one side, a quad four visits ABBA or BAAB (slow drifts cancel to first
order), a session many quads of one fresh pair of processes. Visits become y = log of a step, quads
mean(y_head) - mean(y_base), and the session the median over its quads, which a few disturbed quads do not move.

On the host's clock y is the log of the *fastest* step of a visit of at least 20: other work on the machine only ever
adds time. On a device's clock it is always the median, because a minimum selects clock boosts. Shorter visits use the
median, which hardly depends on how many steps there were. One rule serves a whole session, chosen by its shortest
visit, so that no minimum is ever held against a median.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from bench.core.comparison import Quad
from bench.core.estimate import Estimate
from bench.stats.distributions import Floats, durations, finite, fraction

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
        return int(mean + NormalDist().inv_cdf(tail) * deviation)
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


MIN_STEPS_FOR_MINIMUM = 20


def session_shift(quads: Sequence[Quad]) -> float:
    """Return the session's log-ratio head / base: 0.05 is 5.1 % slower.

    Raises:
        ValueError: No quad, a side without visits, a visit without steps, a step that is not positive and finite, or
            quads of different clocks.
    """
    if not quads:
        raise ValueError("the shift of a session without quads was asked for")
    clocks = {quad.clock for quad in quads}
    if len(clocks) > 1:
        raise ValueError(f"quads of one session need one clock, found {sorted(clocks)}")
    shortest = min((len(visit) for quad in quads for visit in (*quad.base, *quad.head)), default=0)
    use_minimum = clocks == {"host"} and shortest >= MIN_STEPS_FOR_MINIMUM
    return float(np.median([quad_shift(quad, use_minimum=use_minimum) for quad in quads]))


def mean_shift(quads: Sequence[Quad]) -> float:
    """Return log(total head seconds / total base seconds) of a session, per step: what some slow steps change too.

    Never a median over quads: of visits of few steps it would see 0.4 of what a slowdown of some steps adds.

    Raises:
        ValueError: A side without steps, or a step that is not positive and finite.
    """
    sums = []
    for side in ("head", "base"):
        seconds = durations([second for quad in quads for visit in getattr(quad, side) for second in visit])
        if seconds.size == 0 or seconds.min() <= 0:
            raise ValueError("a session needs steps of both sides that took time")
        sums.append(math.fsum(seconds) / seconds.size)
    return math.log(sums[0] / sums[1])


def quad_shift(quad: Quad, *, use_minimum: bool) -> float:
    """Return mean(y_head) - mean(y_base) of one quad."""
    if not quad.base or not quad.head:
        raise ValueError(f"a quad needs visits of both sides, found {len(quad.base)} of base, {len(quad.head)} of head")
    return _level(quad.head, use_minimum) - _level(quad.base, use_minimum)


def _level(visits: Sequence[Sequence[float]], use_minimum: bool) -> float:
    return math.fsum(visit_level(visit, use_minimum=use_minimum) for visit in visits) / len(visits)


def visit_level(seconds: Sequence[float], *, use_minimum: bool) -> float:
    """Return y: the log of a visit's fastest or median step."""
    array = durations(seconds)
    if array.size == 0 or array.min() <= 0:
        raise ValueError("a visit needs steps that took time")
    return math.log(float(array.min() if use_minimum else np.median(array)))
