"""What happens inside the fresh process of a training or of one point of an input pipeline."""

from __future__ import annotations

from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

from bench.core.advice import doubts_of_machine
from bench.core.errors import UsageError
from bench.core.training import PipelinePoint, TrainingPlan, TrainingRun
from bench.device.backend import why_not
from bench.measure.scenarios.pipeline import measure_pipeline
from bench.measure.scenarios.training import check, train
from bench.measure.window import Window


def check_plan(plan: TrainingPlan, is_downloading: bool) -> None:
    """Refuse what `run_training` or `run_point` would refuse before anything is measured.

    Raises:
        BenchError: The device, the model or the data cannot be used.
    """
    _check_device(plan)
    check(plan, is_downloading=is_downloading)


def run_training(
    plan: TrainingPlan, download: bool, checkpoint: Path, gpu_uuid: str | None, connection: Connection
) -> TrainingRun:
    """Train as planned; progress goes out through the connection, and whatever comes in says to stop.

    Raises:
        BenchError: The device, the model, the data or the checkpoint cannot be used.
    """
    _check_device(plan)
    window = Window(plan.device, gpu_uuid)
    run = train(
        plan,
        download=download,
        checkpoint=checkpoint,
        report=connection.send,
        is_stopped=lambda: connection.poll(),
        window=window,
    )
    state = window.state()
    return replace(run, state=state, advice=(*run.advice, *doubts_of_machine(state, plan.device)))


def run_point(plan: TrainingPlan, budget_seconds: float, gpu_uuid: str | None) -> PipelinePoint:
    """Measure one combination of an input pipeline's axes.

    Raises:
        BenchError: The device, the model or the data cannot be used.
    """
    _check_device(plan)
    window = Window(plan.device, gpu_uuid)
    point = measure_pipeline(plan, budget_seconds, window=window)
    return replace(point, advice=(*point.advice, *doubts_of_machine(window.state(), plan.device)))


def _check_device(plan: TrainingPlan) -> None:
    reason = why_not(plan.device, plan.precision)
    if reason is not None:
        raise UsageError(reason)
