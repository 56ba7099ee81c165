"""Tests over sessions without a distribution: flipping signs where roles are by coin, counting signs where not.

**Sign flips.** Without a change, swapping the roles of base and head in a session turns its log-ratio d into -d, and
roles were drawn by coin: so all 2^K sign patterns of K sessions are equally likely. The p-value counts those that look
at least as slow:

    p = 2^-K #{s in {-1,1}^K : mean(s c) >= mean(c)}        (Fisher, "The Design of Experiments", 1935, section 21)

c is d, but no longer than 1.5 times the median |d|: one wild session of eight (-14 % among +5 %, seen on real machines)
would carry the mean off. The limit is Huber's (Ann. Math. Statist. 35 (1964) 73); it depends on |d| alone, which no
sign changes, so the test stays exact. `bench.stats.looks` builds on it.

**Signs.** Two different models are no copies that a coin could swap: their ratio may be skewed, and flips about a
documented value then cry out too often (0.043 instead of 0.025 a side where sessions are log-normal, simulated). So
their sessions are counted: above the value with probability 1/2, if it is the median. The interval is the range
between the k-th smallest and the k-th largest session, which holds the median with 1 - 2 P(Bin(K, 1/2) < k).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from bench.core.estimate import CONFIDENCE, Estimate
from bench.stats.distributions import Floats, finite

EXACT_LIMIT = 18
"""Up to 2^18 patterns are counted one by one; above, patterns are drawn."""

DRAWS = 20_000
"""Random patterns above `EXACT_LIMIT`; p = (b + 1) / (m + 1) never is 0 (Phipson and Smyth, SAGMB 9 (2010) 39)."""

CLIP = 1.5
"""A session counts at most so many times the median size of its shifts."""

TIE = 1e-9
"""Statistics closer than this are equal; rounding must not decide."""


def unit_rows(values: Floats) -> Floats:
    """Clip each row at a multiple of its median size, and divide it by its root mean square; zeros stay zeros."""
    sizes = np.abs(values)
    limit = CLIP * np.median(sizes, axis=1, keepdims=True)
    limit[limit == 0] = np.inf  # where most are 0, the limit would leave nothing
    clipped = np.clip(values, -limit, limit)
    largest = np.abs(clipped).max(axis=1, keepdims=True)  # scaled first, so that squares neither over- nor underflow
    scaled = np.divide(clipped, largest, out=np.zeros_like(clipped), where=largest > 0)
    norm = np.sqrt((scaled**2).mean(axis=1, keepdims=True))
    unit: Floats = np.divide(scaled, norm, out=np.zeros_like(scaled), where=norm > 0)
    return unit


def flip_sums(values: Floats) -> Floats:
    """Return the sums of each row under all sign patterns; bit k of a pattern's number flips the k-th value."""
    sums = np.zeros((len(values), 1))
    for column in values.T:
        sums = np.concatenate([sums + column[:, None], sums - column[:, None]], axis=1)
    return sums


def sign_flip_p(shifts: Sequence[float], *, faster: bool = False, seed: int = 0) -> float:
    """Return the one-sided p-value of "slower", or of `faster`; exact up to 18 sessions, by seeded draws above.

    Raises:
        ValueError: No session, or a value that is not finite.
    """
    array = finite(shifts, "shifts")
    if array.size == 0:
        raise ValueError("a test of no sessions was asked for")
    unit = unit_rows(-array[None] if faster else array[None])
    if array.size <= EXACT_LIMIT:
        sums = flip_sums(unit)[0]
        return float((sums >= sums[0] - TIE).mean())
    signs = np.random.default_rng(seed).choice((-1.0, 1.0), (DRAWS, array.size))
    reached = int((signs @ unit[0] >= unit.sum() - TIE).sum())
    return (reached + 1) / (DRAWS + 1)


def sign_p(values: Sequence[float], bound: float) -> float:
    """Return the one-sided p-value of "the median lies above the bound": values at the bound count against it."""
    array = finite(values)
    above = int((array > bound).sum())
    return _binomial_tail(array.size, array.size - above)


def median_interval(values: Sequence[float]) -> Estimate:
    """Estimate the median, with order statistics as the ends of its interval.

    Returns:
        Low and high are None where not even the whole range has the confidence: below 6 values at 95 %.

    Raises:
        ValueError: No value, or one that is not finite.
    """
    array = np.sort(finite(values))
    n = array.size
    if n == 0:
        raise ValueError("the median of no values was asked for")
    rank = sum(_binomial_tail(n, k) <= (1 - CONFIDENCE) / 2 for k in range((n + 1) // 2))
    return Estimate(
        point=float(np.median(array)),
        low=float(array[rank - 1]) if rank else None,
        high=float(array[-rank]) if rank else None,
        confidence=CONFIDENCE,
        n=n,
        n_effective=float(n),
        method="median; order-statistic interval",
    )


def _binomial_tail(n: int, k: int) -> float:
    """Return P(Bin(n, 1/2) <= k)."""
    return math.fsum(math.comb(n, i) for i in range(k + 1)) / 2.0**n
