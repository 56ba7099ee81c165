"""The median of timed steps, with an interval that knows how correlated they are.

Why the median: a step's times have a sharp lower edge and a long tail, which moves a mean but not a median.

One number for a suite: the geometric mean of ratios, the only mean that does not depend on which side is the base.

Fleming and Wallace, Comm. ACM 29 (1986) 218. Nothing is clipped: a slowdown counts as what it is (peers replace ratios
below 1 by 1, or failures by 0). A missing ratio is missing: left out, counted, and said.

How many independent values a correlated series is worth.

Steps of one process are correlated (clock states, neighbours, caches): 150 steps can be worth 10. The variance of a
mean of n such values is tau / n times that of one value, with the integrated autocorrelation time

    tau = 1 + 2 sum_{k >= 1} rho(k),        n_effective = n / tau.

Summing all lags adds only noise, so the sum stops at a window. We use Sokal's: the smallest window W >= 5 tau(W)
(Sokal, "Monte Carlo Methods in Statistical Mechanics", lecture notes 1989/1996, section 3; his constant is 4 to 10).
Geyer's initial positive sequence (Statist. Sci. 7 (1992) 473) was not chosen because its argument, that sums of
neighbouring lags are positive, holds for reversible Markov chains; steps of a program are none (periodic garbage,
alternating buffers).

A short series hides its correlation, because its own mean is subtracted: every rho comes out low, and n_effective high,
just where it matters. So tau is never below that of an AR(1) series with the first lag freed of its bias,
rho' = (n rho(1) + 1) / (n - 4), from E[rho(1)] = rho - (1 + 4 rho) / n (Marriott and Pope, Biometrika 41 (1954) 390;
Kendall, same volume, 403), tau = (1 + rho') / (1 - rho').
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from bench.core.estimate import CONFIDENCE, Estimate
from bench.stats.distributions import (
    Floats,
    durations,
    finite,
    median_of,
    median_rank,
    student_t_quantile,
    value_at,
    weibull_position,
)

SOKAL_WINDOW = 5.0
"""Window in units of tau; Sokal's notes recommend 4 to 10."""


def autocorrelations(values: Sequence[float] | Floats) -> Floats:
    """Return rho(0) = 1, rho(1) ... rho(n - 1) about the series' own mean, by FFT; all zero lags for a constant series.

    The estimate divides by n, not by n - k (biased towards 0, but positive definite), as is usual for tau.
    """
    array = finite(values)
    if array.size == 0:
        raise ValueError("a series without values has no autocorrelation")
    return _autocorrelations(array)


def _autocorrelations(array: Floats) -> Floats:
    n = array.size
    centred = array - array.mean()
    scale = np.abs(centred).max()
    if scale <= 1e-12 * np.abs(array).max():  # constant up to rounding
        return np.concatenate([[1.0], np.zeros(n - 1)])
    spectrum = np.fft.rfft(centred / scale, 1 << (2 * n - 1).bit_length())  # padded: no wrap-around
    covariance = np.fft.irfft(np.abs(spectrum) ** 2)[:n]
    return np.asarray(covariance / covariance[0], dtype=np.float64)


def integrated_autocorrelation_time(values: Sequence[float] | Floats) -> float:
    """Estimate tau: the larger of Sokal's window sum and the AR(1) value with its bias removed; between 1 and n.

    Below 1 (values that alternate) the answer is 1: nobody gets more than n independent values out of n.
    """
    return _correlation_time(autocorrelations(values))


def _correlation_time(rho: Floats) -> float:
    n = rho.size
    sums = 2 * np.cumsum(rho) - 1  # tau(W) for W = 0, 1, ...
    enough = np.flatnonzero(np.arange(n) >= SOKAL_WINDOW * sums)
    tau = float(sums[enough[0] if enough.size else n - 1])
    if n > 5 and rho[1:].any():
        first = (n * float(rho[1]) + 1) / (n - 4)
        tau = max(tau, (1 + first) / (1 - first)) if first < 1 else float(n)
    return min(max(tau, 1.0), float(n))


def effective_n(values: Sequence[float] | Floats) -> float:
    """Return n / tau: how many independent values the series is worth, between 1 and n."""
    array = finite(values)
    return array.size / _correlation_time(_autocorrelations(array))


def ranks(values: Sequence[float] | Floats) -> Floats:
    """Return the rank of each value, 1 for the smallest; equal values share their mean rank."""
    return _ranks(finite(values))


def _ranks(array: Floats) -> Floats:
    order = array.argsort()
    ordered = array[order]
    found = np.empty(array.size)
    if (ordered[1:] != ordered[:-1]).all():  # numpy.unique does the rest, in eight times the time
        found[order] = np.arange(1.0, array.size + 1)
        return found
    _, inverse, counts = np.unique(array, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[inverse], dtype=np.float64)


DRIFT_LIMIT = 0.05
"""Medians of the first and the last third of a series that differ by more than this are a drift, if not by chance."""

CHANCE_Z = 2.58
"""A rank sum so many standard deviations from its mean is no chance: 1 % of two series from one distribution."""

MIN_PROCESSES = 3
"""Fewer fresh processes than this carry no interval: the t factor is 12.7 for two and 4.3 for three."""


def estimate_median(seconds: Sequence[float]) -> Estimate:
    """Estimate the median of one process's steps, in the order they were taken.

    1. n_effective = n / tau, tau the integrated autocorrelation time of the *ranks* of the values. Ranks, because one
       outlier hides the correlation of raw values. The median's own variance follows the series 1{x > median}, whose
       correlation (2/pi asin rho for a Gaussian series) is below the ranks' (6/pi asin(rho/2)); the ranks are less
       noisy and err to the wide side.
    2. The binomial interval of m = floor(n_effective) independent values: ranks r and m + 1 - r (Thompson 1936).
    3. Read off the n values at the quantiles r / (m + 1) and 1 - r / (m + 1), interpolated. Without correlation
       these are exactly the order statistics x_(r), x_(n+1-r).

    Measured coverage (lognormal AR(1) noise, 2000 series each, nominal 95 %): 0.97 for independent values, 0.97 to
    0.98 for a lag-1 correlation of 0.5 to 0.9 where n >= 10 tau. Shorter correlated series mostly get no interval: 83 %
    of those of 20 values at 0.8, and 5 % a wrong one. The worst seen was 9 % wrong, for 10 values at 0.8.

    The interval covers what this process showed while it was measured. It does not cover another process, which has its
    own speed: for that see `estimate_median_of_processes`.

    Returns:
        Low and high are None where fewer than 6 effective values (at 95 %) leave no interval, and where the values
        drift: an interval of a trend covers nothing (measured: 0.00 of the time).

    Raises:
        ValueError: No value, or one that is negative or not finite.
    """
    array = durations(seconds)
    if array.size == 0:
        raise ValueError("the median of no values was asked for")
    return _estimate_median(array)


def _estimate_median(array: Floats) -> Estimate:
    """Do so with what was checked: a report does it ten thousand times."""
    worth = effective_n(_ranks(array))
    m = math.floor(worth + 1e-9)
    rank = median_rank(m, CONFIDENCE)
    low = high = None
    if rank is not None and drift(array) is None:
        ordered, n = np.sort(array), array.size
        low, high = (value_at(ordered, weibull_position(n, share)) for share in (rank / (m + 1), 1 - rank / (m + 1)))
    return Estimate(
        point=median_of(array),
        low=low,
        high=high,
        confidence=CONFIDENCE,
        n=int(array.size),
        n_effective=worth,
        method="median; order statistics at the effective n (Sokal window on ranks)",
    )


def drift(seconds: Sequence[float] | np.ndarray) -> float | None:
    """Compare the last third of a series with its first: +0.1 where it is 10 % slower.

    Returns:
        None where they differ by less than `DRIFT_LIMIT`, or by no more than chance explains. Simulated for 20 values
        with 5 % of noise: 1 % of independent series and 6 % of series with a lag-1 correlation of 0.5 are called
        drifting, and 76 to 80 % of those that grow by 20 % from end to end.
    """
    array = np.asarray(seconds, dtype=np.float64)
    third = array.size // 3
    return shift_beyond_chance(array[:third], array[array.size - third :], DRIFT_LIMIT) if third else None


def shift_beyond_chance(base: np.ndarray, head: np.ndarray, limit: float) -> float | None:
    """Return by how much the median of `head` exceeds that of `base`, as a fraction of it.

    Returns:
        None within `limit`, where a median is 0, and where the rank sum of Mann and Whitney (Ann. Math. Stat. 18
        (1947) 50) allows for chance.
    """
    before, after = median_of(base), median_of(head)
    if min(before, after) <= 0 or abs(after - before) <= limit * min(before, after):
        return None
    n, m = base.size, head.size
    above = float(ranks(np.concatenate([base, head]))[n:].sum()) - m * (m + 1) / 2
    z = (above - n * m / 2) / math.sqrt(n * m * (n + m + 1) / 12)
    return after / before - 1 if abs(z) > CHANCE_Z else None


def estimate_median_of_processes(samples: Sequence[Sequence[float]]) -> Estimate:
    """Estimate the typical median over fresh processes, with an interval that includes their spread.

    Each process has its own speed (memory layout, about 2 %), which more steps in it cannot average away. One value per
    process: the log of its median. Point = exp of the mean, interval = Student's t on the logs. Within-process noise is
    part of the spread between medians, so it is included.

    Args:
        samples: One sequence of seconds per fresh process. Fewer than three leave no interval, one alone gives
            `estimate_median`'s, which says in `method` that it covers this process only.

    Returns:
        `n` counts steps, `n_effective` processes.

    Raises:
        ValueError: No process, one without values, or a value that is negative or not finite.
    """
    arrays = _arrays_of(samples)
    if len(arrays) == 1:
        return _estimate_median(arrays[0])
    point, low, high = typical_seconds(arrays), None, None
    medians = np.array([median_of(array) for array in arrays])
    method = f"median of {len(arrays)} process medians; an interval needs {MIN_PROCESSES} processes"
    if len(arrays) >= MIN_PROCESSES and medians.min() > 0:
        logs = np.log(medians)
        centre, error = float(logs.mean()), float(logs.std(ddof=1)) / math.sqrt(len(logs))
        reach = student_t_quantile((1 + CONFIDENCE) / 2, len(logs) - 1) * error
        low, high = math.exp(centre - reach), math.exp(centre + reach)
        method = f"geometric mean of {len(arrays)} process medians; Student t on their logs"
    return Estimate(
        point=point,
        low=low,
        high=high,
        confidence=CONFIDENCE,
        n=sum(array.size for array in arrays),
        n_effective=float(len(arrays)),
        method=method,
    )


def typical_seconds(samples: Sequence[Sequence[float] | Floats]) -> float:
    """Return the point of `estimate_median_of_processes` without its interval, which takes ten times as long.

    Raises:
        ValueError: No process, one without values, or a value that is negative or not finite.
    """
    arrays = _arrays_of(samples)
    if len(arrays) == 1:
        return median_of(arrays[0])
    medians = np.array([median_of(array) for array in arrays])
    if len(arrays) >= MIN_PROCESSES and medians.min() > 0:
        return math.exp(float(np.log(medians).mean()))
    return median_of(medians)


def _arrays_of(samples: Sequence[Sequence[float] | Floats]) -> list[Floats]:
    arrays = [durations(seconds) for seconds in samples]
    if not arrays or any(array.size == 0 for array in arrays):
        raise ValueError(f"every process needs a value, found {[array.size for array in arrays]}")
    return arrays


def spread(seconds: Sequence[float]) -> tuple[float, float, float | None]:
    """Return the quantiles 0.1 and 0.9 and the `relative_dispersion`, of values that are sorted once."""
    ordered = np.sort(durations(seconds))
    last = ordered.size - 1
    return value_at(ordered, last * 0.1), value_at(ordered, last * 0.9), _dispersion(ordered)


def quantile(seconds: Sequence[float], probability: float) -> float:
    """Return a quantile by linear interpolation (type 7 of Hyndman and Fan, Amer. Statist. 50 (1996) 361).

    Raises:
        ValueError: No value, one that is negative or not finite, or a probability outside 0..1.
    """
    array = durations(seconds)
    if array.size == 0:
        raise ValueError("a quantile of no values was asked for")
    if not 0.0 <= probability <= 1.0:
        raise ValueError(f"a probability lies in 0..1, found {probability}")
    return value_at(np.sort(array), (array.size - 1) * probability)


def relative_dispersion(seconds: Sequence[float]) -> float | None:
    """Measure how wide a sample is compared with its centre: IQR / median.

    Returns:
        A fraction (0.02 is 2 %), or None when there are fewer than four values or their median is 0.

    Raises:
        ValueError: If a value is negative or not finite.
    """
    return _dispersion(np.sort(durations(seconds)))


def _dispersion(ordered: Floats) -> float | None:
    if ordered.size < 4:
        return None
    low, middle, high = (value_at(ordered, (ordered.size - 1) * quarter) for quarter in (0.25, 0.5, 0.75))
    return (high - low) / middle if middle > 0 else None
