"""Run cases of a longer workload one after the other, each in fresh processes, each on disk the moment it ends.

A kind of case (`GENERATION`, `IMAGES`) says how its models are checked and a case is measured; `run_cases` plans the
cases on this machine, measures those that the run lacks, stores and returns them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.core.advice import doubts_of_machine
from bench.core.environment import Environment
from bench.core.errors import StoreError
from bench.core.generation import Generation, GenerationCase, Sampled, SamplingCase, joined
from bench.core.jsonio import from_json, to_json
from bench.core.record import Outcome, Sampling
from bench.device.clocks import doubts_of_lock, locked_environments
from bench.registry.code import code_hash
from bench.runner import processes
from bench.runner.plan import Plan, make_plan, preflight_limit
from bench.runner.records import TRACES, Stamp, describe_resumption, open_run, tell_untraced, trace_file
from bench.store.cases import read_generations, read_images, write_case
from bench.store.runs import RunFolder
from bench.store.stored import StoredRun, read_stored_run

Watch = Callable[[int, int, str, str | None], None]
"""`(index, total, case id, words)`: words is None when the case starts, and says how it ended when it has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of case.

    Attributes:
        name: Name of its folder in the run's, and of its cases in the run's settings.
        command: Command that measures it.
        example: Model that it measures.
        field: Name of its results in a stored run and in JSON.
        case: Type of what is asked for; it has an `id`, a `key` and a `cell`.
        result: Type of what is measured.
        worker: Module with `time_case` and `measure_case`.
        fit: Checks the models of cases and returns the cases as they can be measured; also takes whether parts are
            measured, and the `method` and `timeout_seconds` of its process.
        read: Reads what a run's folder has.
    """

    name: str
    command: str
    example: str
    field: str
    case: type
    result: type
    worker: str
    fit: Callable[..., Sequence[Any]]
    read: Callable[[RunFolder], tuple[tuple[Any, ...], tuple[StoreError, ...]]]

    def of_run(self, run: StoredRun) -> tuple[Any, ...]:
        """Return the results of a run."""
        found: tuple[Any, ...] = getattr(run, self.field)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is to be measured.

    Attributes:
        sampling: How long.
        parts: Also the parts of a training step, once per cell.
        folder: Run that is resumed; None for a new one.
    """

    cases: Sequence[Any]
    sampling: Sampling
    parts: bool = False
    folder: RunFolder | None = None


def taken_up(kind: Kind, run: str, results: Path) -> Asked:
    """Read what a stored run of this kind was asked for; the others as for `RunFolder.open`.

    Raises:
        StoreError: There is no such run, or it is of another kind.
    """
    folder = RunFolder.open(run, results)
    settings = folder.run.settings if isinstance(folder.run.settings, dict) else {}
    if kind.name not in settings:
        made = f"the command that made it: {folder.run.typed}"
        raise StoreError(f"run {folder.run.id} is none of `bench {kind.command}`; {made}")
    try:
        return Asked(
            cases=tuple(from_json(kind.case, case) for case in settings[kind.name]),
            sampling=from_json(Sampling, settings["stopping"]),
            parts=bool(settings["parts"]),
            folder=folder,
        )
    except (KeyError, ValueError) as error:
        raise StoreError(
            f"run {folder.run.id} does not say what `bench {kind.command}` was asked for ({error})"
        ) from error


def plan_cases(
    kind: Kind, asked: Asked, *, method: str = "forkserver", timeout_seconds: float | None = None
) -> tuple[tuple[Any, ...], Plan]:
    """Check cases before anything is measured; return them with full names of devices, and what is known of those.

    Raises:
        BenchError: A model is not there or cannot do this, a device is not there, or looking took too long.
    """
    limits: dict[str, Any] = {"method": method, "timeout_seconds": preflight_limit(timeout_seconds)}
    plan = make_plan([case.cell for case in asked.cases], **limits)
    fitted = kind.fit(asked.cases, asked.parts, **limits)
    cases = (replace(case, cell=replace(case.cell, device=plan.devices[case.cell.device])) for case in fitted)
    return tuple(dict.fromkeys(cases)), plan


def run_cases(
    kind: Kind,
    asked: Asked,
    *,
    results: Path,
    watch: Watch,
    method: str = "forkserver",
    timeout_seconds: float | None = None,
    is_tracing: bool = False,
) -> StoredRun:
    """Measure every case that has no good result of this code in this environment, and trace it if asked.

    Raises:
        BenchError: A model is not there or cannot do this, a device is not there, or a file cannot be written.
    """
    limits: dict[str, Any] = {"method": method, "timeout_seconds": timeout_seconds}
    cases, plan = plan_cases(kind, asked, **limits)
    with locked_environments(plan.environments, is_asked=asked.sampling.lock_clocks) as environments:
        folder = _measure_cases(kind, replace(asked, cases=cases), environments, results, watch, is_tracing, limits)
    found = read_stored_run(folder)
    write_tables_of_cases(folder, found)
    return found


def _measure_cases(
    kind: Kind,
    asked: Asked,
    environments: Mapping[str, Environment],
    results: Path,
    watch: Watch,
    is_tracing: bool,
    limits: dict[str, Any],
) -> RunFolder:
    folder, settings = asked.folder, settings_of(kind, asked)
    if folder is None:
        folder = open_run(results, environment=next(iter(environments.values())), settings=settings)
    with_parts = cases_with_parts(asked.cases) if asked.parts else ()
    with folder.locked():
        if asked.folder is not None:
            resumptions = (*folder.run.resumptions, describe_resumption())
            folder = folder.rewrite(replace(folder.run, settings=settings, resumptions=resumptions))
        left = _left(kind, folder, asked.cases, environments)
        for index, case in enumerate(left):
            watch(index, len(left), case.id, None)
            environment = environments[case.cell.device]
            one = measure_case(kind, case, asked.sampling, environment, has_parts=case in with_parts, **limits)
            write_case(folder, one)
            if is_tracing and one.outcome is Outcome.OK:
                path = trace_file(folder.path / TRACES, case.key)
                tell_untraced(case.id, processes.call(f"{kind.worker}:trace_case", case, path, **limits))
            watch(index, len(left), case.id, _words(one))
    return folder


def settings_of(kind: Kind, asked: Asked) -> dict[str, Any]:
    """Write what is asked for as the settings of a run, as `taken_up` reads them."""
    return {
        kind.name: [to_json(case) for case in asked.cases],
        "stopping": to_json(asked.sampling),
        "parts": asked.parts,
    }


def kind_of(folder: RunFolder) -> Kind | None:
    """Return the kind of a run's cases; None for a run of cells."""
    settings = folder.run.settings if isinstance(folder.run.settings, dict) else {}
    return next((kind for kind in (GENERATION, IMAGES) if kind.name in settings), None)


def cases_with_parts(cases: Sequence[Any]) -> set[Any]:
    """Return the first case of each cell: the parts of a training step are the same for all of them."""
    return set({case.cell: case for case in reversed(cases)}.values())


def write_tables_of_cases(folder: RunFolder, found: StoredRun) -> None:
    """Write the tables of a run's cases."""
    from bench.report.files import write_tables  # pandas, which a run of minutes can wait for

    write_tables(folder, {kind.field: cases for kind in (GENERATION, IMAGES) if (cases := kind.of_run(found))})


def measure_case(
    kind: Kind, case: Any, sampling: Sampling, environment: Environment, *, has_parts: bool, **limits: Any
) -> Any:
    """Measure one case in fresh processes; return a result of its kind, however it ended.

    `limits` are `method` and `timeout_seconds` of each process, as in `processes.call`.
    """
    stamp = Stamp(case.cell)
    code = code_hash(case.cell.model)
    fields = time_and_count(kind.worker, case, sampling, environment, **limits)
    if fields["outcome"] is Outcome.OK and has_parts:
        fields |= _time_parts(kind.worker, case, sampling, limits)
    return kind.result(case=case, environment=environment, code=code, **stamp.fields(), **fields)


def _left(kind: Kind, folder: RunFolder, cases: Sequence[Any], environments: Mapping[str, Environment]) -> list[Any]:
    """Return the cases without a good result of this code in this environment."""
    good = {
        one.case.key
        for one in kind.read(folder)[0]
        if one.outcome in (Outcome.OK, Outcome.SKIPPED)
        and one.code is not None
        and one.code == code_hash(one.case.cell.model)
        and one.environment is not None
        and one.case.cell.device in environments
        and one.environment.fingerprint == environments[one.case.cell.device].fingerprint
    }
    return [case for case in cases if case.key not in good]


def time_and_count(
    worker: str, case: Any, sampling: Sampling, environment: Environment, **limits: Any
) -> dict[str, Any]:
    """Time a case in fresh processes and count it in another; give the fields of what was found.

    The module `worker` has `time_case(case, sampling, gpu_uuid)` and `measure_case(case)`.
    """
    arguments = (case, sampling, environment.gpu_uuid)
    found = []
    for _ in range(sampling.processes):
        timed = processes.call(f"{worker}:time_case", *arguments, budget_seconds=sampling.budget_seconds, **limits)
        if timed.outcome is not Outcome.OK:
            return {"outcome": timed.outcome, "reason": timed.reason}
        times, state = timed.value
        found.append(times)
    times = joined(found)
    counted = processes.call(f"{worker}:measure_case", case, **limits)
    return {
        "outcome": Outcome.OK,
        "reason": counted.value.reason if counted.outcome is Outcome.OK else f"not counted: {counted.reason}",
        "times": times,
        "state": state,
        "advice": (
            *doubts_of_machine(state, case.cell.device),
            *doubts_of_lock(environment, case.cell.device, is_asked=sampling.lock_clocks),
        ),
        "counts": counted.value,
    }


def _words(one: Any) -> str:
    return "done" if one.outcome is Outcome.OK else f"{one.outcome.value}: {one.reason}"


def _time_parts(worker: str, case: Any, sampling: Sampling, limits: Mapping[str, Any]) -> dict[str, Any]:
    budget = sampling.budget_seconds
    ending = processes.call(f"{worker}:time_parts", case, sampling, budget_seconds=budget, **limits)
    reason = {} if ending.outcome is Outcome.OK else {"reason": f"training not measured: {ending.reason}"}
    return {"training": ending.value, **reason}


_GENERATION_WORKER = "bench.measure.scenarios.generation"
_IMAGES_WORKER = "bench.measure.scenarios.sampling"


def _fit_texts(cases: Sequence[GenerationCase], _: bool, **limits: Any) -> Sequence[GenerationCase]:
    """Give a model whose texts must be longer the room by its own option, for the longest text of that model."""
    longest: dict[str, int] = {}
    for case in cases:
        longest[case.cell.model] = max(case.total_tokens, longest.get(case.cell.model, 0))
    specs = {}
    for model, tokens in longest.items():
        ending = processes.call(f"{_GENERATION_WORKER}:fitting_spec", model, tokens, **limits)
        specs[model] = str(ending.checked(f"model {model!r} could not be read"))
    return [replace(case, cell=replace(case.cell, model=specs[case.cell.model])) for case in cases]


def _check_images(cases: Sequence[SamplingCase], parts: bool, **limits: Any) -> Sequence[SamplingCase]:
    steps: dict[str, int] = {}
    for case in cases:
        steps[case.cell.model] = max(case.steps, steps.get(case.cell.model, 0))
    ending = processes.call(f"{_IMAGES_WORKER}:check_models", steps, parts, **limits)
    ending.checked("the models could not be read")
    return cases


GENERATION = Kind(
    name="generation",
    command="generate",
    example="decoder_lm",
    field="generations",
    case=GenerationCase,
    result=Generation,
    worker=_GENERATION_WORKER,
    fit=_fit_texts,
    read=read_generations,
)
IMAGES = Kind(
    name="sampling",
    command="images",
    example="diffusion",
    field="images",
    case=SamplingCase,
    result=Sampled,
    worker=_IMAGES_WORKER,
    fit=_check_images,
    read=read_images,
)
