"""How many independent values a correlated series is worth.

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

from collections.abc import Sequence

import numpy as np

from bench.stats.distributions import Floats, finite

SOKAL_WINDOW = 5.0
"""Window in units of tau; Sokal's notes recommend 4 to 10."""


def autocorrelations(values: Sequence[float] | Floats) -> Floats:
    """Return rho(0) = 1, rho(1) ... rho(n - 1) about the series' own mean, by FFT; all zero lags for a constant series.

    The estimate divides by n, not by n - k (biased towards 0, but positive definite), as is usual for tau.
    """
    array = finite(values)
    n = array.size
    if n == 0:
        raise ValueError("a series without values has no autocorrelation")
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
    rho = autocorrelations(values)
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
    return finite(values).size / integrated_autocorrelation_time(values)


def ranks(values: Sequence[float] | Floats) -> Floats:
    """Return the rank of each value, 1 for the smallest; equal values share their mean rank."""
    _, inverse, counts = np.unique(finite(values), return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[inverse], dtype=np.float64)
