"""What a cell costs before it is steady, and after how many steps compiling has paid for itself.

steps until steady   the fewest first steps after which the rest of the warm-up takes at most 10 % longer per step than
                     the timed steps: a step that compiles again is not hidden by its neighbours, as in a median
start-up             build, and what these first steps take longer than steady ones
cold start           from the start of Python to the end of the first step, nothing loaded or compiled before
payback              (start-up compiled - start-up eager) / (step eager - step compiled); cold ones where both are known
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

from bench.core.cell import Cell, CompileMode
from bench.core.estimate import Estimate
from bench.core.record import ColdStart, Phase, Record
from bench.stats.summary import estimate_phase

STEADY_TOLERANCE = 0.1
"""The rest of a warm-up is steady when its mean step is at most this much longer than the mean timed one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """How a cell begins; the median over its fresh processes. None where it was not measured.

    Attributes:
        build_seconds: Of the slowest rank; libraries were loaded before.
        first_step_seconds: Compiles, allocates, and loads what is loaded on first use.
        steps_until_steady: None also where the warm-up ended before the steps were steady.
        startup_seconds: Build, and what the steps until steady took beyond steady ones.
        cold_seconds: From the start of Python to the end of the first step, with `--cold-start`.
        cached_seconds: The same where an earlier process has left its compiled code.
        compile_seconds: What the first steps took beyond steady ones, without compiled code; of a compiled cell.
        cold_startup_seconds: `startup_seconds` of the cold start, with the start of Python and all imports.
    """

    build_seconds: float | None = None
    first_step_seconds: float | None = None
    steps_until_steady: float | None = None
    startup_seconds: float | None = None
    cold_seconds: float | None = None
    cached_seconds: float | None = None
    compile_seconds: float | None = None
    cold_startup_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Payback:
    """Whether compiling pays: `steps` after which it has, or why there is no such number, `never` or `as fast`."""

    steps: int | None = None
    reason: str | None = None


def steps_until_steady(warmup_seconds: Sequence[float], steady_seconds: float) -> int | None:
    """Count the first steps of a warm-up that are no steady ones; None where even its last step is not."""
    limit = (1 + STEADY_TOLERANCE) * steady_seconds
    rest, found = 0.0, None
    for index in reversed(range(len(warmup_seconds))):
        rest += warmup_seconds[index]
        if rest <= limit * (len(warmup_seconds) - index):
            found = index
    return found


def _excess(warmup_seconds: Sequence[float], steady_seconds: float) -> float | None:
    """Return what the steps until steady took beyond steady ones."""
    count = steps_until_steady(warmup_seconds, steady_seconds)
    return None if count is None else sum(warmup_seconds[:count]) - count * steady_seconds


def _loading(start: ColdStart) -> float:
    """Return the seconds before the first step."""
    return (start.python_seconds or 0.0) + (start.import_seconds or 0.0) + (start.build_seconds or 0.0)


def has_build(record: Record) -> bool:
    """Whether `start_of` finds how long the model's build took."""
    return any(sample.build_seconds is not None for sample in record.samples if sample.phase is Phase.STEP)


def start_of(record: Record) -> Start:
    """Read how a cell began off its samples of whole steps."""
    steps = [sample for sample in record.samples if sample.phase is Phase.STEP]
    builds, firsts, counts, startups = [], [], [], []
    for process in dict.fromkeys(sample.process for sample in steps):
        ranks = [sample for sample in steps if sample.process == process]
        built = [sample.build_seconds for sample in ranks if sample.build_seconds is not None]
        build = max(built) if built else None
        warmup, timed = ranks[0].warmup_seconds, ranks[0].seconds  # ranks agree on the seconds of a warm-up step
        if build is not None:
            builds.append(build)
        if not warmup or not timed:
            continue
        firsts.append(warmup[0])
        steady = statistics.fmean(timed)
        count, excess = steps_until_steady(warmup, steady), _excess(warmup, steady)
        if count is None or excess is None:
            continue
        counts.append(count)
        if build is not None:
            startups.append(build + excess)
    found = {one.has_cache: one for one in record.cold_starts if one.step_seconds}
    cold, cached = found.get(False), found.get(True)
    every = [second for sample in steps for second in sample.seconds] if cold else []
    excess = _excess(cold.step_seconds, statistics.fmean(every)) if cold and every else None
    return Start(
        cold_seconds=_loading(cold) + cold.step_seconds[0] if cold else None,
        cached_seconds=_loading(cached) + cached.step_seconds[0] if cached else None,
        compile_seconds=excess if record.cell.compile is not CompileMode.NONE else None,
        cold_startup_seconds=_loading(cold) + excess if cold and excess is not None else None,
        build_seconds=_median(builds),
        first_step_seconds=_median(firsts),
        steps_until_steady=_median(counts),
        startup_seconds=_median(startups),
    )


def paybacks(records: Sequence[Record], among: Sequence[Record]) -> list[Payback | None]:
    """Compare every cell with its partner in `among`, which is gone through once."""
    if all(record.cell.compile is CompileMode.NONE for record in records):
        return [None] * len(records)
    by_key = {other.cell.key: other for other in reversed(among)}
    partners = (by_key.get(eager_key(record.cell)) for record in records)
    return [payback_of(record, eager) for record, eager in zip(records, partners, strict=True)]


def eager_key(cell: Cell) -> str:
    """Return the key of the same cell that is not compiled."""
    return replace(cell, compile=CompileMode.NONE).key


def payback_of(record: Record, eager: Record | None) -> Payback | None:
    """Compare a compiled cell with the same one that is not compiled; None without that one or without a start-up."""
    if record.cell.compile is CompileMode.NONE or eager is None:
        return None
    ours, theirs = estimate_phase(record, Phase.STEP), estimate_phase(eager, Phase.STEP)
    if ours is None or theirs is None:
        return None
    if _do_overlap(ours, theirs):
        return Payback(reason="as fast")
    if theirs.point <= ours.point:
        return Payback(reason="never")
    start, start_eager = start_of(record), start_of(eager)
    cost, cost_eager = start.cold_startup_seconds, start_eager.cold_startup_seconds
    if cost is None or cost_eager is None:
        cost, cost_eager = start.startup_seconds, start_eager.startup_seconds
    if cost is None or cost_eager is None:
        return None
    return Payback(steps=max(0, math.ceil((cost - cost_eager) / (theirs.point - ours.point))))


def _do_overlap(one: Estimate, other: Estimate) -> bool:
    if one.low is None or one.high is None or other.low is None or other.high is None:
        return False
    return one.low <= other.high and other.low <= one.high


def _median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None
