"""The timed part of an A/B session: warm a step up once, then time visits of it, each a few lines of work."""

from __future__ import annotations

import time

from bench.core.record import Sampling
from bench.device.accelerator import is_accelerator
from bench.device.step import Step
from bench.measure.blocks import time_steps
from bench.measure.clock import Clock
from bench.stats.stopping import WarmupRule

LEAD_IN_FROM = 5
"""A visit of at least so many steps begins with one that is not timed: it finds the caches as the other side left them.

With fewer, longer steps that step would cost more than it mends, and both sides pay alike.
"""

WARMUP_BUDGET_SECONDS = 3.0
"""A warm-up that has its least number of steps ends here, settled or not."""


def warm_up(step: Step, clock: Clock, device: str, sampling: Sampling | None = None) -> list[float]:
    """Run steps until they settle, and return the seconds of each; an accelerator gets at least a second."""
    least_seconds = 1.0 if is_accelerator(device) else 0.0
    rule = WarmupRule(sampling or Sampling(min_warmup_seconds=least_seconds))
    seconds: list[float] = []
    started = time.perf_counter()
    while not rule.is_finished:
        new, _ = time_steps(step, clock, 1)
        seconds += new
        rule.add(new)
        is_late = time.perf_counter() - started > WARMUP_BUDGET_SECONDS
        if is_late and len(seconds) >= 3:
            break
    return seconds


def time_visit(step: Step, clock: Clock, steps: int) -> list[float]:
    """Time one uninterrupted block of steps; garbage collection must be off already."""
    if steps >= LEAD_IN_FROM:
        step()
    seconds, _ = time_steps(step, clock, steps)
    return seconds
