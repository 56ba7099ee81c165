"""Small phrases that several sections write alike."""

from __future__ import annotations

from bench.core.estimate import Estimate
from bench.report.figures import duration


def count_of(number: int, one: str, many: str = "") -> str:
    """Write `1 cell`, `36 cells`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def seconds_text(estimate: Estimate | None) -> str:
    """Write a duration with half its interval in its own unit: `7.5 ± 0.6 ms`."""
    if estimate is None:
        return "-"
    has_interval = estimate.low is not None and estimate.high is not None
    half = (estimate.high - estimate.low) / 2 if has_interval else None  # type: ignore[operator]
    return duration(estimate.point, half)
