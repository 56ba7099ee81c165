"""Put short cells together, so that a task takes minutes: waiting in a queue takes longer than a cell."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bench.core.cell import Cell, CompileMode
from bench.core.errors import BenchError
from bench.core.record import Sampling

TASK_SECONDS = 300.0
"""What a task should take, if its time limit is at least twice that."""

MOST_TASKS = 1000
"""Slurm's default MaxArraySize is 1001; more cells make longer tasks, not more of them."""

# Rough, on purpose too long: they decide how many cells share a task, and when a task begins no further one.
_FIXED_SECONDS = 6.0  # counting, and a process for the memory
_PROCESS_SECONDS = 4.0  # start, build, warm-up
_COMPILE_SECONDS = 60.0


def estimated_seconds(cell: Cell, sampling: Sampling) -> float:
    """Estimate what a cell takes from start to record."""
    compiling = 0.0 if cell.compile is CompileMode.NONE else _COMPILE_SECONDS
    return _FIXED_SECONDS + compiling + sampling.processes * (_PROCESS_SECONDS + compiling + sampling.budget_seconds)


def pack(
    cells: Sequence[Cell], sampling: Sampling, *, limit_seconds: float, cells_per_task: int | None = None
) -> tuple[tuple[str, ...], ...]:
    """Part cells into the chunks of an array, in order.

    Args:
        cells: What is to be measured.
        sampling: How long each is measured.
        limit_seconds: Of a task; a chunk is estimated to take about half of it at most.
        cells_per_task: Asked for by hand.

    Raises:
        BenchError: A task would be given no cell at all.
    """
    if cells_per_task is not None and cells_per_task < 1:
        raise BenchError(f"cells per task must be at least 1, found {cells_per_task}")
    least = math.ceil(len(cells) / MOST_TASKS)
    most = max(cells_per_task or len(cells), least)
    goal = math.inf if cells_per_task else min(TASK_SECONDS, limit_seconds / 2)
    chunks: list[list[str]] = []
    filled = 0.0
    for cell in cells:
        seconds = estimated_seconds(cell, sampling)
        is_full = bool(chunks) and (len(chunks[-1]) >= most or (len(chunks[-1]) >= least and filled + seconds > goal))
        if not chunks or is_full:
            chunks.append([])
            filled = 0.0
        chunks[-1].append(cell.key)
        filled += seconds
    if cells_per_task is None:
        return _evened([(cell.key, estimated_seconds(cell, sampling)) for cell in cells], len(chunks))
    return tuple(tuple(chunk) for chunk in chunks)


def _evened(cells: Sequence[tuple[str, float]], tasks: int) -> tuple[tuple[str, ...], ...]:
    """Part cells into as many tasks of about the same length, so that none is left over for a short last one.

    Each cell goes where the middle of its time falls, when all tasks are laid end to end.
    """
    total = sum(seconds for _, seconds in cells)
    chunks: list[list[str]] = [[] for _ in range(tasks)]
    before = 0.0
    for key, seconds in cells:
        chunks[min(tasks - 1, int((before + seconds / 2) / total * tasks))].append(key)
        before += seconds
    return tuple(tuple(chunk) for chunk in chunks if chunk)
