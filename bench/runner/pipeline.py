"""Measure input pipelines over their axes, each combination in a fresh process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from bench.core.pipeline import PipelinePoint
from bench.core.training import TrainingPlan
from bench.runner import processes
from bench.runner.plan import make_plan


def measure_points(
    plans: Sequence[TrainingPlan],
    budget_seconds: float,
    *,
    observer: Callable[[PipelinePoint], None] = lambda _: None,
    method: str = "forkserver",
) -> tuple[PipelinePoint, ...]:
    """Measure one point per plan, one after the other; a failure is a row beside the others.

    Args:
        plans: All on one device, whose name may be short.
        budget_seconds: Of each of the three measurements of a point.
        observer: Hears of every point.
        method: `forkserver`, `spawn` or `inline`.

    Raises:
        BenchError: The model, the device or the data is of no use.
    """
    processes.preload("torchvision")
    known = make_plan([plan.cell for plan in plans], method=method)
    points = []
    for plan in plans:
        full = replace(plan, device=known.cells[0].device)
        ending = processes.call("bench.runner.training_worker:run_point", full, budget_seconds, method=method)
        if ending.error is not None:
            raise ending.error
        point = ending.value or PipelinePoint(plan=full, outcome=ending.outcome, reason=ending.reason)
        points.append(point)
        observer(point)
    return tuple(points)
