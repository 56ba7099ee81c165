"""What a comparison would have seen: the smallest slowdown that its plan calls SLOWER four times in five.

The slowdown is of every step. No formula knows it: below `fail_at` nothing is ever SLOWER, a small slowdown may leave
as SAME, and looks and cells share alpha. So the plan itself is simulated (`bench.stats.looks.look`) on Gaussian
sessions that spread as those found did, and the slowdown is sought by bisection over the same draws. 200 comparisons
know the share found to within 2.8 % (one standard error), which is 2 to 5 % of the slowdown. The spread itself is known
from few sessions: of six to within 32 %.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np

from bench.stats.distributions import finite
from bench.stats.looks import SLOWER, Plan, draw_patterns, look

POWER = 0.80
_COMPARISONS = 200
_HALVINGS = 7
_NEAR, _FAR = 2.0, 16.0  # spreads above `fail_at` where the search begins and ends
_GRID = math.log(1.2)  # spreads this close are one, so that few simulations serve a suite
_WORTH = 4  # patterns that a cell's level is worth at least, where not all are counted
_CORRELATION = 0.6  # of the two columns, as found in real sessions (mlp, batch 8)


def session_spread(shifts: Sequence[float]) -> float | None:
    """Return the standard deviation between sessions; None for fewer than two."""
    array = finite(shifts, "shifts")
    return float(array.std(ddof=1)) if array.size >= 2 else None


def sees(plan: Plan, spread: float, mean_spread: float | None = None) -> float | None:
    """Return the shift (a log-ratio) of every step that the plan calls SLOWER with 80 % power.

    Args:
        plan: When it is looked.
        spread: Standard deviation of a session's undisturbed step.
        mean_spread: The same of its mean; as the undisturbed step's if not given.

    Returns:
        At least `fail_at`; None if no slowdown would be found.

    Raises:
        ValueError: A spread that is negative or not finite.
    """
    pair = (spread, spread if mean_spread is None else mean_spread)
    if not all(one >= 0 and math.isfinite(one) for one in pair):
        raise ValueError(f"a spread is at least 0 and finite, found {pair}")
    if plan.sessions_needed is None:
        return None
    return _sees(plan, *(round(math.log(max(one, 1e-6)) / _GRID) for one in pair))


@functools.lru_cache(maxsize=256)
def _sees(plan: Plan, *exponents: int) -> float | None:
    first, second = (math.exp(one * _GRID) for one in exponents)
    rng = np.random.default_rng(161)
    z = rng.standard_normal((_COMPARISONS, plan.most, 2))
    z[..., 1] = _CORRELATION * z[..., 0] + math.sqrt(1 - _CORRELATION**2) * z[..., 1]
    noise = z * (first, second)
    count = 1 << math.ceil(math.log2(_WORTH * plan.cells / plan.threshold.alpha))
    draws = draw_patterns(plan, max(1024, count), rng)

    def is_found(shift: float) -> bool:
        return bool((look(noise + shift, plan, draws).verdict == SLOWER).mean() >= POWER)

    low = math.log1p(plan.threshold.fail_at)
    reach = _NEAR
    while not is_found(high := low + reach * max(first, second)):
        reach *= 2
        if reach > _FAR:
            return None
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if is_found(middle) else (middle, high)
    return high
