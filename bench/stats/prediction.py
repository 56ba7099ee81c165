"""What the past of a series says of its next value: a prediction interval under AR(1) noise.

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
from collections.abc import Sequence
from dataclasses import dataclass

from bench.stats.autocorrelation import autocorrelations
from bench.stats.distributions import finite, fraction, student_t_quantile

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
