"""Run cases of a longer workload one after the other, each in fresh processes, each on disk the moment it ends.

Measure text generation: plan the cases on this machine, run each in fresh processes, store and return them.

Measure image sampling: plan the cases on this machine, run each in fresh processes, store and return them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from bench.core.environment import Environment
from bench.core.errors import BenchError
from bench.core.generation import Generation, GenerationCase, Sampled, SamplingCase
from bench.core.jsonio import to_json
from bench.core.record import Outcome, Sampling
from bench.runner import processes
from bench.runner.plan import make_plan
from bench.runner.records import Stamp, open_run
from bench.store.cases import append_case
from bench.store.stored import StoredRun, read_stored_run
from bench.tables.advice import doubts_of_machine

C = TypeVar("C")
M = TypeVar("M")

Watch = Callable[[int, int, str, str | None], None]
"""`(index, total, case id, words)`: words is None when the case starts, and says how it ended when it has."""


def run_cases(
    cases: Sequence[C],
    measure: Callable[[C, Environment], dict[str, Any]],
    make: Callable[..., M],
    *,
    kind: str,
    environments: Mapping[str, Environment],
    results: Path,
    watch: Watch,
) -> StoredRun:
    """Measure cases and store each.

    Args:
        cases: With an `id`, and a `cell` whose device has an environment.
        measure: Gives the fields of what `make` makes, but those that are the same for every case.
        make: The type of a measured case.
        kind: Name of the folder in the run's: `generation` or `sampling`.
        environments: Environments by device.
        results: Folder that holds the runs.
        watch: Told when a case starts and ends.

    Raises:
        StoreError: A result cannot be written.
    """
    environment = next(iter(environments.values()))
    folder = open_run(results, environment=environment, settings={kind: [to_json(case) for case in cases]})
    with folder.locked():
        for index, case in enumerate(cases):
            name, cell = case.id, case.cell  # type: ignore[attr-defined]
            watch(index, len(cases), name, None)
            stamp = Stamp(cell)
            fields = measure(case, environments[cell.device])
            one = make(case=case, environment=environments[cell.device], **stamp.fields(), **fields)
            append_case(folder, kind, one)
            watch(index, len(cases), name, _words(fields))
    found = read_stored_run(folder)
    from bench.report.files import write_case_tables  # pandas, which a run of minutes can wait for

    write_case_tables(folder, {"generations": found.generations, "images": found.images})
    return found


def time_and_count(
    worker: str, case: Any, sampling: Sampling, environment: Environment, *, method: str
) -> dict[str, Any]:
    """Time a case in one fresh process and count it in another; give the fields of what was found.

    Args:
        worker: Module with `time_case(case, sampling, gpu_uuid)` and `measure_case(case)`.
        case: Case to be measured.
        sampling: How long to measure.
        environment: Environment of the case's device.
        method: How processes are started.
    """
    limit = processes.DEFAULT_TIMEOUT_SECONDS + sampling.budget_seconds
    arguments = (case, sampling, environment.gpu_uuid)
    timed = processes.call(f"{worker}:time_case", *arguments, method=method, timeout_seconds=limit)
    if timed.outcome is not Outcome.OK:
        return {"outcome": timed.outcome, "reason": timed.reason}
    counted = processes.call(f"{worker}:measure_case", case, method=method)
    times, state = timed.value
    return {
        "outcome": Outcome.OK,
        "reason": counted.value.reason if counted.outcome is Outcome.OK else f"not counted: {counted.reason}",
        "times": times,
        "state": state,
        "advice": doubts_of_machine(state, case.cell.device),
        "counts": counted.value,
    }


def _words(fields: Mapping[str, Any]) -> str:
    if fields["outcome"] is Outcome.OK:
        return "done"
    return f"{fields['outcome'].value}: {fields['reason']}"


_GENERATION_WORKER = "bench.measure.scenarios.generation"


def run_generation(
    cases: Sequence[GenerationCase],
    *,
    sampling: Sampling,
    results: Path,
    watch: Watch,
    method: str = "forkserver",
) -> StoredRun:
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
        return time_and_count(_GENERATION_WORKER, case, sampling, environment, method=method)

    return run_cases(
        tuple(dict.fromkeys(planned)),
        measure,
        Generation,
        kind="generation",
        environments=plan.environments,
        results=results,
        watch=watch,
    )


def _fitting(model: str, cases: Sequence[GenerationCase], method: str) -> str:
    """Ask a fresh process for the spec with room for the longest text of this model."""
    longest = max(case.total_tokens for case in cases if case.cell.model == model)
    ending = processes.call(f"{_GENERATION_WORKER}:fitting_spec", model, longest, method=method)
    if ending.outcome is not Outcome.OK:
        raise ending.error or BenchError(f"model {model!r} could not be read: {ending.reason}")
    return str(ending.value)


_IMAGES_WORKER = "bench.measure.scenarios.sampling"


def run_sampling(
    cases: Sequence[SamplingCase],
    *,
    sampling: Sampling,
    results: Path,
    watch: Watch,
    parts: bool = False,
    method: str = "forkserver",
) -> StoredRun:
    """Measure every case; with `parts` also the parts of a training step, once per cell.

    Raises:
        BenchError: A model is not there or samples no images, a device is not there, or a file cannot be written.
    """
    plan = make_plan([case.cell for case in cases], method=method)
    models: dict[str, int] = {}
    for case in cases:
        models[case.cell.model] = max(case.steps, models.get(case.cell.model, 0))
    checked = processes.call(f"{_IMAGES_WORKER}:check_models", models, parts, method=method)
    if checked.outcome is not Outcome.OK:
        raise checked.error or BenchError(f"the models could not be read: {checked.reason}")
    planned = [replace(case, cell=replace(case.cell, device=plan.devices[case.cell.device])) for case in cases]
    with_parts = {case.cell: case for case in reversed(planned)} if parts else {}  # the first case of each cell

    def measure(case: SamplingCase, environment: Environment) -> dict[str, Any]:
        found = time_and_count(_IMAGES_WORKER, case, sampling, environment, method=method)
        if found["outcome"] is Outcome.OK and with_parts.get(case.cell) == case:
            trained = processes.call(f"{_IMAGES_WORKER}:time_parts", case, sampling, method=method)
            found |= {"training": trained.value}
            if trained.outcome is not Outcome.OK:
                found |= {"reason": f"training not measured: {trained.reason}"}
        return found

    return run_cases(
        tuple(dict.fromkeys(planned)),
        measure,
        Sampled,
        kind="sampling",
        environments=plan.environments,
        results=results,
        watch=watch,
    )
