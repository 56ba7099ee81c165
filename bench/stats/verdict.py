"""One cell's sessions to a judgement: the verdict of the looks, the shift with its interval, what would have been seen.

The interval is that of all sessions, as if their number had been planned. A cell that stops early was lucky or unlucky
a little, so its shift is biased away from 0; benchmarks/simulate_verdicts.py measures what that costs in coverage.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bench.core.comparison import ComparisonReason, ComparisonVerdict, Judgement, ShownBy
from bench.core.estimate import Estimate
from bench.stats.distributions import finite
from bench.stats.looks import FASTER, SAME, SLOWER, Found, Plan, look
from bench.stats.power import sees, session_spread
from bench.stats.shift import estimate_shift, hodges_lehmann

_VERDICTS = {
    SLOWER: (ComparisonVerdict.SLOWER, ComparisonReason.SLOWDOWN_CONFIRMED),
    FASTER: (ComparisonVerdict.FASTER, ComparisonReason.SPEEDUP_CONFIRMED),
    SAME: (ComparisonVerdict.SAME, ComparisonReason.SLOWDOWN_EXCLUDED),
}


def is_decided(shifts: Sequence[float], means: Sequence[float], plan: Plan) -> bool:
    """Whether the looks so far gave a verdict; looks at the sessions that a look is planned at only."""
    if len(shifts) not in plan.looks:
        return False
    return int(_look(shifts, means, plan).verdict[0]) in _VERDICTS


def judge(
    shifts: Sequence[float], means: Sequence[float], plan: Plan, *, spread: float = 0.0, is_cut_short: bool = False
) -> Judgement:
    """Decide on the verdict of one cell.

    Args:
        shifts: One log-ratio head / base per session: of the undisturbed step.
        means: The same of the mean.
        plan: When it was looked.
        spread: Spread of its sessions that is known from elsewhere; what would be seen follows from the larger.
        is_cut_short: A budget ended before the plan did.

    Raises:
        ValueError: A value that is not finite, or columns of different lengths.
    """
    count = len(shifts)
    if count < max(plan.looks[0], 2):
        reason = ComparisonReason.BUDGET_ENDED if is_cut_short else ComparisonReason.TOO_FEW_SESSIONS
        return Judgement(
            verdict=ComparisonVerdict.INCONCLUSIVE,
            reason=reason,
            shift=hodges_lehmann(shifts) if shifts else None,
            session_shifts=tuple(shifts),
            mean_shift=hodges_lehmann(means) if means else None,
            mean_shifts=tuple(means),
            looks=len(plan.looks),
        )
    found = _look(shifts, means, plan)
    estimates = [_estimate(values) for values in (shifts, means)]
    spreads = [session_spread(values) or 0.0 for values in (shifts, means)]
    detectable = sees(plan, max(spread, spreads[0]), max(spread, spreads[1]))
    code = int(found.verdict[0])
    if code in _VERDICTS:
        verdict, reason = _VERDICTS[code]
    else:
        verdict, reason = ComparisonVerdict.INCONCLUSIVE, ComparisonReason.SLOWDOWN_NOT_EXCLUDED
        if is_cut_short and count < plan.most:
            reason = ComparisonReason.BUDGET_ENDED
        elif detectable is None or detectable > math.log1p(plan.threshold.tolerate):
            reason = ComparisonReason.CANNOT_DETECT
    column = int(found.column[0])
    is_change = code in (SLOWER, FASTER)
    estimate = estimates[column]
    judged = Judgement(
        verdict=verdict,
        reason=reason,
        shift=estimate.point,
        low=estimate.low,
        high=estimate.high,
        confidence=estimate.confidence,
        p_adjusted=_p(found, code, column, estimate.point),
        minimum_detectable=detectable,
        session_shifts=tuple((shifts, means)[column]),
        mean_shift=estimates[1].point,
        mean_high=estimates[1].high,
        mean_shifts=tuple(means),
        look=plan.looks.index(int(found.sessions[0])) + 1,
        looks=len(plan.looks),
    )
    if not is_change:
        return judged
    return replace(judged, shown_by=ShownBy.ON_AVERAGE if column else ShownBy.EVERY_STEP)


def _look(shifts: Sequence[float], means: Sequence[float], plan: Plan) -> Found:
    data = np.stack([finite(shifts, "shifts"), finite(means, "means")], axis=1)
    return look(data[None], plan)


def _p(found: Found, code: int, column: int, shift: float) -> float | None:
    """Return the p that decided; without a change the smaller of the columns', in the direction of the shift."""
    tests = found.p_faster if code == FASTER or (code != SLOWER and shift < 0) else found.p_slower
    p = float(tests[0, column] if code in (SLOWER, FASTER) else tests[0].min())
    return min(1.0, p) if math.isfinite(p) else None


def _estimate(values: Sequence[float]) -> Estimate:
    """Estimate the shift; five sessions give no 95 %, but their whole range has 1 - 2^-4."""
    estimate = estimate_shift(values)
    return estimate if estimate.low is not None else estimate_shift(values, confidence=1 - 2.0 ** (1 - len(values)))
