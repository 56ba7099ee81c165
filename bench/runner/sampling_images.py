"""Measure image sampling: plan the cases on this machine, run each in fresh processes, store and return them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.core.environment import Environment
from bench.core.errors import BenchError
from bench.core.image_sampling import Sampled, SamplingCase
from bench.core.record import Outcome, Sampling
from bench.runner import processes
from bench.runner.plan import make_plan
from bench.runner.scenario import Finished, Watch, run_cases, time_and_count

_WORKER = "bench.scenarios.sampling"


def run_sampling(
    cases: Sequence[SamplingCase],
    *,
    sampling: Sampling,
    results: Path,
    watch: Watch,
    parts: bool = False,
    method: str = "forkserver",
) -> Finished[Sampled]:
    """Measure every case; with `parts` also the parts of a training step, once per cell.

    Raises:
        BenchError: A model is not there or samples no images, a device is not there, or a file cannot be written.
    """
    plan = make_plan([case.cell for case in cases], method=method)
    models: dict[str, int] = {}
    for case in cases:
        models[case.cell.model] = max(case.steps, models.get(case.cell.model, 0))
    checked = processes.call(f"{_WORKER}:check_models", models, parts, method=method)
    if checked.outcome is not Outcome.OK:
        raise checked.error or BenchError(f"the models could not be read: {checked.reason}")
    planned = [replace(case, cell=replace(case.cell, device=plan.devices[case.cell.device])) for case in cases]
    with_parts = {case.cell: case for case in reversed(planned)} if parts else {}  # the first case of each cell

    def measure(case: SamplingCase, environment: Environment) -> dict[str, Any]:
        found = time_and_count(_WORKER, case, sampling, environment, method=method)
        if found["outcome"] is Outcome.OK and with_parts.get(case.cell) == case:
            trained = processes.call(f"{_WORKER}:time_parts", case, sampling, method=method)
            found |= {"training": trained.value}
            if trained.outcome is not Outcome.OK:
                found |= {"reason": f"training not measured: {trained.reason}"}
        return found

    return run_cases(
        tuple(dict.fromkeys(planned)),
        measure,
        Sampled,
        room="sampling",
        environments=plan.environments,
        results=results,
        watch=watch,
    )
