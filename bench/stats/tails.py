"""Quantiles of a tail with intervals that assume no distribution, and limits that they are held against.

At least k of m independent values lie at or below the p-quantile with probability P(Bin(m, p) >= k). So the l-th
smallest is a lower end that fails in 2.5 % if P(Bin(m, p) <= l - 1) <= 0.025, and the h-th an upper end if
P(Bin(m, p) >= h) <= 0.025. The estimate is the ceil(p (m + 1))-th, one that exists, and not an interpolation: of 64
values that one lies below the true p99 in 74 of 100 cases.

Steps are correlated, so m = n / tau, tau of the series 1{x > quantile} (`bench.stats.estimate`), and positions
are read off the n values at l / (m + 1). What tau is of a few steps cannot be known: below ten values above the
quantile, worth five, in eight separate bursts there is a bound and no interval, with the smaller m of this and of all
values' ranks. docs/measuring.md has the coverage.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.core.claim import CheckedLimit, LatencyVerdict, Limit
from bench.stats.distributions import Floats, durations, fraction, value_at, weibull_position
from bench.stats.estimate import effective_n, integrated_autocorrelation_time, ranks

PROBABILITIES = (0.5, 0.95, 0.99)
"""Those that are reported."""

MIN_OVER = 10
"""Values above a quantile without which its correlation is a guess."""

MIN_BURSTS = 8
"""So many times values went above it."""

MIN_WORTH = 5.0
"""And so many independent ones they are worth."""

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Tail:
    """One quantile of one series.

    Attributes:
        point: None where no value stands for it: below 1 / (1 - p) independent ones.
        low: A lower bound; None below a handful of values.
        high: None where the values are too few or in too few bursts; then `low` bounds it, and nothing from above.
        needed: Values without which there is no interval, at this correlation; None where there is one.
    """

    probability: float
    point: float | None
    low: float | None
    high: float | None
    n: int
    n_effective: float
    needed: int | None = None


@functools.lru_cache(maxsize=64)
def tail_of(seconds: tuple[float, ...], probability: float) -> Tail | None:
    """Remember `tail`: a table reads three columns off one."""
    return tail(seconds, probability)


def tail(seconds: Sequence[float], probability: float) -> Tail | None:
    """Estimate a quantile of steps in the order they were taken, process after process; None without a step.

    Raises:
        ValueError: A value that is negative or not finite, or a probability that is not between 0 and 1.
    """
    fraction(probability, "probability")
    array = durations(seconds)
    n = array.size
    if n == 0:
        return None
    over = array > float(np.quantile(array, probability, method="inverted_cdf"))
    worth, is_known = _effective(array, over)
    m = math.floor(worth + 1e-9)
    below, above = _ends(m, probability)
    rank = math.ceil(probability * (m + 1) - 1e-9)
    has_interval = above is not None and is_known
    return Tail(
        probability=probability,
        point=_at(array, rank, m) if rank <= m and m >= 1 / (1 - probability) - 1e-9 else None,
        low=_at(array, below, m) if below else None,
        high=_at(array, above, m) if above is not None and is_known else None,
        n=n,
        n_effective=worth,
        needed=None if has_interval else _needed(probability, n / worth),
    )


def check_limit(name: str, seconds: Sequence[float], limit: Limit) -> CheckedLimit:
    """Hold steps against a limit, with 95 % confidence either way.

    PASS where so few values over it as were found have a chance of at most 5 % if the limit were not kept (the rule of
    MLPerf's early stopping, with effective values); FAIL where so many have, if it were.

    Raises:
        ValueError: A value that is negative or not finite.
    """
    array = durations(seconds)
    n = array.size
    over = array > limit.seconds
    count = int(over.sum())
    worth = _effective(array, over)[0] if n else 0.0
    m = math.floor(worth + 1e-9)
    found = math.ceil(count * m / n - 1e-9) if n else 0
    cumulative = _binomial_cumulative(m, 1 - limit.probability)
    more = None
    if m and cumulative[found] <= 1 - CONFIDENCE:
        verdict = LatencyVerdict.PASS
    elif m and found and 1 - cumulative[found - 1] <= 1 - CONFIDENCE:
        verdict = LatencyVerdict.FAIL
    else:
        verdict = LatencyVerdict.UNDECIDED
        more = math.ceil((_passing(found, 1 - limit.probability, m) - m) * (n / worth if worth else 1.0) - 1e-9)
    return CheckedLimit(name=name, limit=limit, verdict=verdict, n=n, n_effective=worth, over=count, more=more)


def _passing(over: int, share: float, m: int) -> int:
    """Return the fewest values, more than m, among which so few over a limit pass it."""
    step = 1
    while _binomial_cumulative(m + step, share)[over] > 1 - CONFIDENCE:
        step *= 2
    least, most = m + step // 2, m + step  # the first does not pass, unless it is m
    while most - least > 1:
        middle = (least + most) // 2
        is_enough = _binomial_cumulative(middle, share)[over] <= 1 - CONFIDENCE
        least, most = (least, middle) if is_enough else (middle, most)
    return most


def _effective(array: Floats, over: np.ndarray) -> tuple[float, bool]:
    """Return what the values are worth for a tail, and whether enough of them are in it to know."""
    n = array.size
    worth = n / integrated_autocorrelation_time(over.astype(np.float64))
    bursts = int((np.diff(over.astype(np.int8)) == 1).sum()) + int(over[0])
    count = int(over.sum())
    is_known = count >= MIN_OVER and bursts >= MIN_BURSTS and worth * count / n >= MIN_WORTH
    return (worth, True) if is_known else (min(worth, effective_n(ranks(array))), False)


def _ends(m: int, probability: float) -> tuple[int, int | None]:
    """Return l and h, counted from 1; l is 0 and h is None if there is no such value."""
    alpha = (1 - CONFIDENCE) / 2
    cumulative = _binomial_cumulative(m, probability)
    low = int((cumulative <= alpha).sum())
    high = int(np.argmax(cumulative >= 1 - alpha)) + 1
    return low, high if high <= m else None


def _at(array: Floats, rank: int, m: int) -> float:
    return value_at(np.sort(array), weibull_position(array.size, rank / (m + 1)))


def _needed(probability: float, tau: float) -> int:
    """Return the values without which no interval can be: enough over the quantile, and an h among them."""
    least = math.ceil(math.log((1 - CONFIDENCE) / 2) / math.log(probability))
    wanted = max(tau * least, (tau * MIN_WORTH) / (1 - probability), MIN_OVER / (1 - probability))
    return math.ceil(wanted - 1e-9)


def _binomial_cumulative(m: int, probability: float) -> Floats:
    """Return P(Bin(m, p) <= k) for k = 0 .. m."""
    k = np.arange(1, m + 1)
    steps = np.log((m - k + 1) / k) + math.log(probability / (1 - probability))
    logs = np.concatenate([[0.0], np.cumsum(steps)]) + m * math.log1p(-probability)
    cumulative: Floats = np.minimum(np.cumsum(np.exp(logs)), 1.0)
    return cumulative
