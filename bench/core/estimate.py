"""A number with its doubt: derived from samples whenever asked, never stored as truth."""

from __future__ import annotations

from dataclasses import dataclass

CONFIDENCE = 0.95
"""Of every interval that is shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A point with its confidence interval.

    Attributes:
        low: None where the sample is too small for an interval.
        confidence: Confidence level of the interval: 0.95.
        n: Values that went in.
        n_effective: Independent values they are worth, after autocorrelation.
        method: How point and interval were computed.
    """

    point: float
    low: float | None
    high: float | None
    confidence: float
    n: int
    n_effective: float
    method: str

    @property
    def half_width(self) -> float | None:
        """Half the interval, in the unit of the point; None without an interval."""
        return None if self.low is None or self.high is None else (self.high - self.low) / 2

    @property
    def relative_half_width(self) -> float | None:
        """Half the interval as a fraction of the point: 0.02 is ± 2 %."""
        half = self.half_width
        return None if half is None or self.point == 0 else half / abs(self.point)
