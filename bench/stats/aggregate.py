"""One number for a suite: the geometric mean of ratios, the only mean that does not depend on which side is the base.

Fleming and Wallace, Comm. ACM 29 (1986) 218. Nothing is clipped: a slowdown counts as what it is (peers replace ratios
below 1 by 1, or failures by 0). A missing ratio is missing: left out, counted, and said.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bench.stats.checked import finite


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanRatio:
    """A geometric mean over `n` ratios; `missing` more had none. `ratio` is None where all are missing."""

    ratio: float | None
    n: int
    missing: int


def geometric_mean(ratios: Sequence[float | None]) -> MeanRatio:
    """Average ratios; None is a cell without one.

    Raises:
        ValueError: A ratio that is not positive and finite.
    """
    there = finite([ratio for ratio in ratios if ratio is not None], "ratios")
    if (there <= 0).any():
        raise ValueError(f"a ratio is above 0, found {there.min()}; a failed cell is None")
    mean = math.exp(math.fsum(math.log(ratio) for ratio in there) / there.size) if there.size else None
    return MeanRatio(ratio=mean, n=int(there.size), missing=len(ratios) - int(there.size))
