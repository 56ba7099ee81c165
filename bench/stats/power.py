"""What a comparison could have seen: the minimum detectable shift, printed beside every verdict.

A one-sided test at level alpha that holds a mean of K session values (standard error sigma_d / sqrt(K)) against 0
rejects above z_(1-alpha) standard errors. A true shift is found with probability `power` if it lies z_power above:

    MDE = (z_(1-alpha) + z_power) sigma_d / sqrt(K) = (1.645 + 0.842) sigma_d / sqrt(K) = 2.49 sigma_d / sqrt(K)

at alpha 0.05 and power 0.80. That holds for many sessions. With few, a test that does not know sigma_d needs more, and
the sign-flip test has few p-values to choose from: at 2.49 its power was 0.50, 0.66, 0.70, 0.75 for 5, 6, 8, 12
Gaussian sessions. So Student's t with K - 1 degrees of freedom takes the place of z: a factor of 2.94, 2.79, 2.67 for
6, 8, 12 sessions, 2.49 in the limit. Its measured power: 0.77 to 0.82 from 6 sessions up, 0.64 with 5 (in the tests).

Assumptions: independent sessions, nearly Gaussian. sigma_d itself is estimated from K values, to within about
1 / sqrt(2 (K - 1)): 32 % for six. What an adjustment for a suite costs is not included: pass a smaller alpha for it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from bench.stats.distributions import finite, fraction, normal_quantile, student_t_quantile


def session_spread(shifts: Sequence[float]) -> float | None:
    """Return sigma_d, the standard deviation between sessions; None for fewer than two."""
    array = finite(shifts, "shifts")
    return float(array.std(ddof=1)) if array.size >= 2 else None


def detectable_factor(sessions: int, *, alpha: float = 0.05, power: float = 0.80) -> float | None:
    """Return t_(1-alpha) + t_power in standard errors; None where so few sessions cannot reach alpha at all."""
    if sessions < fewest_sessions(alpha) or sessions < 2:
        return None
    fraction(power, "power")
    return student_t_quantile(1 - alpha, sessions - 1) + student_t_quantile(power, sessions - 1)


def minimum_detectable(spread: float, sessions: int, *, alpha: float = 0.05, power: float = 0.80) -> float | None:
    """Return the shift (a log-ratio) that `sessions` sessions of standard deviation `spread` find with `power`.

    Returns:
        None for so few sessions that no shift is ever found.

    Raises:
        ValueError: A negative spread, or a probability outside 0..1.
    """
    if not (spread >= 0 and math.isfinite(spread)):
        raise ValueError(f"a spread is at least 0 and finite, found {spread}")
    factor = detectable_factor(sessions, alpha=alpha, power=power)
    return None if factor is None else factor * spread / math.sqrt(sessions)


def sessions_needed(spread: float, shift: float, *, alpha: float = 0.05, power: float = 0.80) -> int:
    """Return the fewest sessions that find `shift` with `power`; never fewer than let a p-value reach alpha.

    Raises:
        ValueError: A shift that is not above 0, a negative spread, or a probability outside 0..1.
    """
    if not (shift > 0 and spread >= 0 and math.isfinite(spread)):
        raise ValueError(f"a shift above 0 and a spread of at least 0 are needed, found {shift} and {spread}")
    limit = (normal_quantile(1 - fraction(alpha, "alpha")) + normal_quantile(fraction(power, "power"))) * spread / shift
    sessions = max(fewest_sessions(alpha), math.floor(limit**2))  # the normal factor is a lower bound: start there
    while (found := minimum_detectable(spread, sessions, alpha=alpha, power=power)) is None or found > shift:
        sessions += 1
    return sessions


def fewest_sessions(alpha: float = 0.05) -> int:
    """Return the least K with 2^-K <= alpha: 5 for 0.05. With fewer, no sign-flip test can reject."""
    return math.ceil(-math.log2(fraction(alpha, "alpha")) - 1e-12)
