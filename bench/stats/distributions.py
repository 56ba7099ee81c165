"""The three distribution functions this room needs, from their closed forms, so that scipy is not a dependency.

Sources: Student's t for whole degrees of freedom, Abramowitz and Stegun, "Handbook of Mathematical Functions" (1964),
26.7.3 and 26.7.4; ranks of the median's interval, Thompson, Ann. Math. Statist. 7 (1936) 122.
"""

from __future__ import annotations

import functools
import math
from statistics import NormalDist


def normal_quantile(probability: float) -> float:
    """Return z with P(Z <= z) = `probability` for the standard normal Z."""
    return NormalDist().inv_cdf(probability)


def student_t_probability(t: float, freedom: int) -> float:
    """Return P(T <= t) for Student's t with `freedom` degrees of freedom.

    With theta = atan(t / sqrt(freedom)) the two-sided probability A is a finite sum of powers of cos(theta).
    """
    if freedom < 1:
        raise ValueError(f"degrees of freedom must be at least 1, found {freedom}")
    theta = math.atan(abs(t) / math.sqrt(freedom))
    cosine, sine = math.cos(theta), math.sin(theta)
    if freedom % 2:
        term = cosine
        total = term if freedom > 1 else 0.0
        for k in range(3, freedom - 1, 2):
            term *= cosine * cosine * (k - 1) / k
            total += term
        inside = 2 / math.pi * (theta + sine * total)
    else:
        term = total = 1.0
        for k in range(2, freedom - 1, 2):
            term *= cosine * cosine * (k - 1) / k
            total += term
        inside = sine * total
    return 0.5 + math.copysign(inside / 2, t)


@functools.lru_cache(maxsize=256)
def student_t_quantile(probability: float, freedom: int) -> float:
    """Return t with P(T <= t) = `probability`, by bisection to the last bits."""
    if probability < 0.5:
        return -student_t_quantile(1 - probability, freedom)
    low, high = 0.0, 1.0
    while student_t_probability(high, freedom) < probability:
        low, high = high, 2 * high
    for _ in range(100):
        middle = (low + high) / 2
        if student_t_probability(middle, freedom) < probability:
            low = middle
        else:
            high = middle
    return (low + high) / 2


@functools.lru_cache(maxsize=4096)
def median_rank(n: int, confidence: float) -> int | None:
    """Return the largest rank r for which [x_(r), x_(n+1-r)] holds the median with at least `confidence`.

    x_(r) lies above the median only if fewer than r of n values fall below it: P(Bin(n, 1/2) <= r - 1), on each side.
    None where even the whole range [x_(1), x_(n)] does not reach it: n <= 5 at 95 %.
    Above n = 1000 the normal approximation stands in; there it is within one rank.
    """
    tail = (1 - confidence) / 2
    if n > 1000:
        return math.floor(n / 2 + normal_quantile(tail) * math.sqrt(n) / 2)
    cumulated = 0
    allowed = tail * (1 + 1e-12) * 2**n
    for rank in range(n // 2 + 1):
        cumulated += math.comb(n, rank)
        if cumulated > allowed:
            return rank or None
    return None
