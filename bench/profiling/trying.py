"""Try an option: the cell as it is and a changed one, in one process, in blocks that alternate ABBA.

The ratio is per example. Its interval covers this process: another one has a speed of its own, about 2 % apart; for a
verdict on code use `bench ab`.
"""

from __future__ import annotations

import contextlib
import math
import statistics

import torch

from bench.core.cell import Cell
from bench.core.profile import Trial
from bench.core.record import AdviceKind
from bench.core.workload import Workload
from bench.device.capabilities import why_not
from bench.device.settings import cell_settings
from bench.device.step import Step, prepare
from bench.measure.blocks import without_garbage_collection
from bench.measure.clock import Clock, clock_for
from bench.measure.visits import time_visit, warm_up
from bench.stats.shift import estimate_shift

QUADS = 8
BLOCK_SECONDS = 0.05


def try_option(
    workload: Workload, base: Cell, changed: Cell, *, kind: AdviceKind, option: str, quads: int = QUADS
) -> Trial:
    """Measure what an option brings; a reason where the changed cell cannot run."""
    reason = why_not(changed.device, changed.precision)
    if reason is not None:
        return Trial(kind=kind, option=option, cell=changed, reason=reason)
    try:
        with contextlib.ExitStack() as stack:
            sides = [stack.enter_context(prepare(workload, cell)) for cell in (base, changed)]
            with without_garbage_collection():
                seconds, logs = _alternate(sides, (base, changed), quads)
    except (RuntimeError, ValueError, TypeError, NotImplementedError, torch.OutOfMemoryError) as error:
        words = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        return Trial(kind=kind, option=option, cell=changed, reason=words)
    shift = estimate_shift(logs)
    per_example = [
        statistics.median(taken) / cell.batch_size for taken, cell in zip(seconds, (base, changed), strict=True)
    ]
    return Trial(
        kind=kind,
        option=option,
        cell=changed,
        base_seconds=per_example[0],
        tried_seconds=per_example[1],
        ratio=math.exp(shift.point),
        low=None if shift.low is None else math.exp(shift.low),
        high=None if shift.high is None else math.exp(shift.high),
        pairs=len(logs) * 2,
    )


def _alternate(
    sides: list[Step], cells: tuple[Cell, Cell], quads: int
) -> tuple[tuple[list[float], list[float]], list[float]]:
    """Time both sides in turn; return their steps, and the log-ratio per example of each ABBA or BAAB."""
    clocks = [clock_for(cell.device) for cell in cells]
    counts = []
    for step, cell, clock in zip(sides, cells, clocks, strict=True):
        with cell_settings(cell):
            warm = warm_up(step, clock, cell.device)
        counts.append(max(1, round(BLOCK_SECONDS / max(min(warm), 1e-6))))
    seconds: tuple[list[float], list[float]] = ([], [])
    logs = []
    for quad in range(quads):
        visits: tuple[list[float], list[float]] = ([], [])
        for side in (0, 1, 1, 0) if quad % 2 == 0 else (1, 0, 0, 1):
            taken = _visit(sides[side], cells[side], clocks[side], counts[side])
            seconds[side].extend(taken)
            visits[side].append(math.log(statistics.median(taken) / cells[side].batch_size))
        logs.append(statistics.fmean(visits[1]) - statistics.fmean(visits[0]))
    return seconds, logs


def _visit(step: Step, cell: Cell, clock: Clock, count: int) -> list[float]:
    with cell_settings(cell):  # both sides are prepared, so the switches of one would stand for the other
        return time_visit(step, clock, count)
