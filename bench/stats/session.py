"""One A/B session to one number: the log-ratio head / base of a cell.

A visit is an uninterrupted block of steps of one side, a quad four visits ABBA or BAAB (slow drifts cancel to first
order), a session many quads of one fresh pair of processes. Visits become y = log of a step, quads
mean(y_head) - mean(y_base), and the session the median over its quads, which a few disturbed quads do not move.

On the host's clock y is the log of the *fastest* step of a visit of at least 20: other work on the machine only ever
adds time. On a device's clock it is always the median, because a minimum selects clock boosts. Shorter visits use the
median, which hardly depends on how many steps there were. One rule serves a whole session, chosen by its shortest
visit, so that no minimum is ever held against a median.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from bench.core.comparison import Quad
from bench.stats.checked import durations

MIN_STEPS_FOR_MINIMUM = 20


def session_shift(quads: Sequence[Quad]) -> float:
    """Return the session's log-ratio head / base: 0.05 is 5.1 % slower.

    Raises:
        ValueError: No quad, a side without visits, a visit without steps, a step that is not positive and finite, or
            quads of different clocks.
    """
    if not quads:
        raise ValueError("the shift of a session without quads was asked for")
    clocks = {quad.clock for quad in quads}
    if len(clocks) > 1:
        raise ValueError(f"quads of one session need one clock, found {sorted(clocks)}")
    shortest = min((len(visit) for quad in quads for visit in (*quad.base, *quad.head)), default=0)
    use_minimum = clocks == {"host"} and shortest >= MIN_STEPS_FOR_MINIMUM
    return float(np.median([quad_shift(quad, use_minimum=use_minimum) for quad in quads]))


def quad_shift(quad: Quad, *, use_minimum: bool) -> float:
    """Return mean(y_head) - mean(y_base) of one quad."""
    if not quad.base or not quad.head:
        raise ValueError(f"a quad needs visits of both sides, found {len(quad.base)} of base, {len(quad.head)} of head")
    return _level(quad.head, use_minimum) - _level(quad.base, use_minimum)


def _level(visits: Sequence[Sequence[float]], use_minimum: bool) -> float:
    return math.fsum(visit_level(visit, use_minimum=use_minimum) for visit in visits) / len(visits)


def visit_level(seconds: Sequence[float], *, use_minimum: bool) -> float:
    """Return y: the log of a visit's fastest or median step."""
    array = durations(seconds)
    if array.size == 0 or array.min() <= 0:
        raise ValueError("a visit needs steps that took time")
    return math.log(float(array.min() if use_minimum else np.median(array)))
