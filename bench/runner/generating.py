"""Measure text generation: plan the cases on this machine, run each in fresh processes, store and return them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.core.environment import Environment
from bench.core.errors import BenchError
from bench.core.generation import Generation, GenerationCase
from bench.core.record import Outcome, Sampling
from bench.runner import processes
from bench.runner.plan import make_plan
from bench.runner.scenario import Finished, Watch, run_cases, time_and_count

_WORKER = "bench.scenarios.generation"


def run_generation(
    cases: Sequence[GenerationCase],
    *,
    sampling: Sampling,
    results: Path,
    watch: Watch,
    method: str = "forkserver",
) -> Finished[Generation]:
    """Measure every case; a model whose texts must be longer gets the room by its own option.

    Raises:
        BenchError: A model is not there or generates no text, a device is not there, or a file cannot be written.
    """
    plan = make_plan([case.cell for case in cases], method=method)
    specs = {model: _fitting(model, cases, method) for model in dict.fromkeys(case.cell.model for case in cases)}
    planned = [
        replace(case, cell=replace(case.cell, model=specs[case.cell.model], device=plan.devices[case.cell.device]))
        for case in cases
    ]

    def measure(case: GenerationCase, environment: Environment) -> dict[str, Any]:
        return time_and_count(_WORKER, case, sampling, environment, method=method)

    return run_cases(
        tuple(dict.fromkeys(planned)),
        measure,
        Generation,
        room="generation",
        environments=plan.environments,
        results=results,
        watch=watch,
    )


def _fitting(model: str, cases: Sequence[GenerationCase], method: str) -> str:
    """Ask a fresh process for the spec with room for the longest text of this model."""
    longest = max(case.total_tokens for case in cases if case.cell.model == model)
    ending = processes.call(f"{_WORKER}:fitting_spec", model, longest, method=method)
    if ending.outcome is not Outcome.OK:
        raise ending.error or BenchError(f"model {model!r} could not be read: {ending.reason}")
    return str(ending.value)
