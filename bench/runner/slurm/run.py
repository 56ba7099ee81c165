"""A run on Slurm from outside: submit and leave; later ask for its status, collect its tables, resume or cancel it.

Nothing waits and nothing runs beside the measurement. All that is known lies in the run's folder (`slurm_files`) or is
asked of Slurm (`slurm`); the tasks put each record on disk themselves.
"""

from __future__ import annotations

import contextlib
import math
import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.core.cell import Cell
from bench.core.errors import BenchError
from bench.core.jsonio import to_json
from bench.core.record import Outcome, Sampling
from bench.core.units import now
from bench.device.backend import complete_device
from bench.registry.optimizers import check_optimizer
from bench.runner import processes
from bench.runner.counting import count_all
from bench.runner.plan import check_nodes, preflight, preflight_limit
from bench.runner.records import open_run
from bench.runner.scenarios import Asked, Kind, settings_of
from bench.runner.session import Limits, Session
from bench.runner.slurm.commands import Slurm
from bench.runner.slurm.files import SlurmFiles, Submission, require_submissions, unrecorded
from bench.runner.slurm.script import JobOptions, pack, script_text
from bench.runner.slurm.status import job_name, look_at
from bench.runner.slurm.work import Item, Work, cell_of
from bench.store.runs import RunFolder


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """What was handed to Slurm.

    Attributes:
        folder: Folder of the run; the nodes must see it under the same path.
        job_id: The first array; None if nothing was left to submit.
        job_ids: One array per number of nodes.
        tasks: Size of the arrays together.
        cells: How many cells they share.
    """

    folder: Path
    job_id: int | None
    job_ids: tuple[int, ...] = ()
    tasks: int
    cells: int


def submit(
    session: Session,
    job: JobOptions,
    *,
    results: Path = Path("results"),
    cells_per_task: int | None = None,
    limits: Limits | None = None,
    slurm: Slurm | None = None,
    **measuring: Any,
) -> Submitted:
    """Make a run's folder, submit its cells as one array of tasks, and leave; `measuring` are fields of `Submission`.

    Short cells first means counting their FLOPs here. What is not submitted waits for a resume.

    Raises:
        BenchError: A model is not there, or sbatch refuses; then no folder is left behind.
    """
    slurm = slurm or Slurm()
    slurm.check()
    cells = cells_on_nodes(session.cells, job)
    timeout_seconds = measuring.get("timeout_seconds")
    _check_models(cells, timeout_seconds)
    limits = limits or Limits()
    first = Submission(
        number=0,
        chunks=(),
        job=job,
        sampling=session.sampling,
        until=_moment(limits),
        submitted_at=now(),
        **measuring,
    )
    plan = {"cells": cells, "sweep": to_json(session.sweeps), "settings": to_json(session.sampling)}
    return _submit_new(results, plan, first, _within(limits, cells, timeout_seconds), cells_per_task, slurm)


def submit_cases(
    kind: Kind,
    asked: Asked,
    job: JobOptions,
    *,
    results: Path = Path("results"),
    timeout_seconds: float | None = None,
    cells_per_task: int | None = None,
    slurm: Slurm | None = None,
) -> Submitted:
    """Submit the cases of `bench generate` or `bench images`: a task takes a case as it takes a cell.

    Raises:
        BenchError: A model is not there or cannot do this, or sbatch refuses; then no folder is left behind.
    """
    slurm = slurm or Slurm()
    slurm.check()
    fitted = kind.fit(asked.cases, asked.parts, timeout_seconds=preflight_limit(timeout_seconds))
    cases = tuple(dict.fromkeys(replace(case, cell=_on_node(case.cell, job)) for case in fitted))
    first = Submission(
        number=0, chunks=(), job=job, sampling=asked.sampling, timeout_seconds=timeout_seconds, submitted_at=now()
    )
    plan = {"settings": settings_of(kind, replace(asked, cases=cases))}
    return _submit_new(results, plan, first, cases, cells_per_task, slurm)


def _submit_new(
    results: Path,
    plan: dict[str, Any],
    first: Submission,
    items: Sequence[Item],
    cells_per_task: int | None,
    slurm: Slurm,
) -> Submitted:
    """Make a run's folder and submit its items; `plan` are fields of its `RunInfo`."""
    is_new = not results.exists()
    folder = open_run(results, **plan)
    try:
        return _submit(folder, first, items, cells_per_task, slurm)
    except BenchError:  # nothing was begun: leave nothing
        shutil.rmtree(folder.path, ignore_errors=True)
        if is_new and results.is_dir() and not any(results.iterdir()):
            results.rmdir()
        raise


def submit_missing(
    folder: RunFolder,
    *,
    job: JobOptions | None = None,
    timeout_seconds: float | None = None,
    cells_per_task: int | None = None,
    retried: Collection[Outcome] = (),
    limits: Limits | None = None,
    slurm: Slurm | None = None,
) -> Submitted:
    """Submit the cells that have no record and that no task still holds, and those that ended like `retried`.

    A job or a timeout of None is that of the last time.

    Raises:
        BenchError: The run was not submitted to Slurm, or Slurm cannot be asked or refuses.
    """
    slurm, limits = slurm or Slurm(), limits or Limits()
    last = require_submissions(folder)[-1]
    # First the tasks, then the records: a task that ends in between has left its records when they are looked for.
    held = {key for task in look_at(folder, slurm) if task.is_live for key in task.keys}
    work = Work.of(folder)
    superseded = work.superseded_by(retried)
    cells = unrecorded(work, {item.key for item in work.items} - held, superseded)
    if not cells:
        return Submitted(folder=folder.path, job_id=None, tasks=0, cells=0)
    timeout_seconds = last.timeout_seconds if timeout_seconds is None else timeout_seconds
    _check_models([cell_of(item) for item in cells], timeout_seconds)
    job = job or last.job
    first = replace(
        last,
        number=last.number + 1,
        job=job,
        timeout_seconds=timeout_seconds,
        submitted_at=now(),
        retried=tuple(retried),
        superseded=tuple((item.key, superseded[item.key]) for item in cells if item.key in superseded),
        until=_moment(limits),
        job_id=None,
    )
    return _submit(folder, first, _within(limits, cells, timeout_seconds), cells_per_task, slurm)


def _within(limits: Limits, items: Sequence[Item], timeout_seconds: float | None) -> Sequence[Item]:
    """Return the items that are submitted, in order; FLOPs are counted here, and no more than those."""
    if limits.is_short_first:
        cells = tuple(dict.fromkeys(map(cell_of, items)))
        counting = count_all(cells, opinions=False, steps=False, timeout_seconds=timeout_seconds)
        work = {cell: counted.counters.flops for cell, counted in counting}
        totals = {cell: flops.total if flops else None for cell, flops in work.items()}
        items = sorted(items, key=lambda item: math.inf if (n := totals[cell_of(item)]) is None else n)
    return items[: limits.max_cells]


def _moment(limits: Limits) -> str | None:
    """Write the moment after which no cell starts, with its zone: nodes may be in another one."""
    return None if limits.until is None else limits.until.isoformat()


def preview(
    session: Session,
    job: JobOptions,
    *,
    results: Path,
    timeout_seconds: float | None = None,
    cells_per_task: int | None = None,
) -> str:
    """Write the script that `submit` would hand to sbatch; asks no cluster.

    Raises:
        BenchError: A model is not there.
    """
    cells = cells_on_nodes(session.cells, job)
    _check_models(cells, timeout_seconds)
    scripts = []
    for number, (nodes, group) in enumerate(_by_nodes(cells)):
        chunks = _pack(group, session.sampling, job, cells_per_task)
        scripts.append(_script(results.resolve() / "RUN-ID", number, replace(job, nodes=nodes), len(chunks)))
    return "".join(scripts)


def cancel(folder: RunFolder, *, slurm: Slurm | None = None) -> int:
    """Cancel the tasks of a run that are queued or run; what is measured stays.

    Returns:
        How many tasks were cancelled.

    Raises:
        BenchError: The run was not submitted to Slurm, or Slurm cannot be asked or refuses.
    """
    slurm = slurm or Slurm()
    require_submissions(folder)
    live = [task for task in look_at(folder, slurm) if task.is_live]
    for job_id in dict.fromkeys(task.job_id for task in live):
        if job_id is not None:
            slurm.cancel(job_id)
    return len(live)


def cells_on_nodes(cells: Sequence[Cell], job: JobOptions) -> tuple[Cell, ...]:
    """Complete the cells' devices without asking this machine, which may be a login node without any.

    Raises:
        UsageError: No such kind of device; a cell cannot be spread evenly over its nodes.
    """
    for cell in cells:
        check_nodes(cell)
    return tuple(dict.fromkeys(_on_node(cell, job) for cell in cells))


def _on_node(cell: Cell, job: JobOptions) -> Cell:
    return replace(cell, device=complete_device(cell.device, has_accelerator=bool(job.gpus)))


def _check_models(cells: Sequence[Cell], timeout_seconds: float | None) -> None:
    """Find mistyped models and optimizers now, not in every task."""
    for cell in cells:
        if cell.optimizer is not None:
            check_optimizer(cell.optimizer)
    processes.preload_libraries([cell.model for cell in cells])
    models = tuple(dict.fromkeys((cell.model, cell.input_shape) for cell in cells))
    preflight((), models, timeout_seconds=preflight_limit(timeout_seconds))


def _pack(
    cells: Sequence[Item], sampling: Sampling, job: JobOptions, cells_per_task: int | None
) -> tuple[tuple[str, ...], ...]:
    return pack(cells, sampling, limit_seconds=job.limit_seconds, cells_per_task=cells_per_task)


def _script(run_folder: Path, number: int, job: JobOptions, tasks: int) -> str:
    name = job_name(run_folder.name, number)
    return script_text(job, name=name, run_folder=run_folder, submission=number, tasks=tasks, workdir=Path.cwd())


def _by_nodes(items: Sequence[Item]) -> list[tuple[int, list[Item]]]:
    """Part cells by the number of their nodes, which is one for all tasks of an array."""
    groups: dict[int, list[Item]] = {}
    for item in items:
        groups.setdefault(cell_of(item).nodes, []).append(item)
    return sorted(groups.items())


def _submit(
    folder: RunFolder, first: Submission, cells: Sequence[Item], cells_per_task: int | None, slurm: Slurm
) -> Submitted:
    """Submit one array per number of nodes; if one is refused, those before it are cancelled."""
    job_ids: list[int] = []
    tasks = 0
    try:
        for number, (nodes, group) in enumerate(_by_nodes(cells), first.number):
            job = replace(first.job, nodes=nodes)
            # A cell of several nodes has a task of its own: a node that dies takes no other cell along.
            chunks = _pack(group, first.sampling, job, cells_per_task if nodes == 1 else 1)
            job_ids.append(_submit_one(folder, replace(first, number=number, job=job, chunks=chunks), slurm))
            tasks += len(chunks)
    except BenchError:
        for job_id in job_ids:
            with contextlib.suppress(BenchError):  # the first error says more
                slurm.cancel(job_id)
        raise
    return Submitted(folder=folder.path, job_id=job_ids[0], job_ids=tuple(job_ids), tasks=tasks, cells=len(cells))


def _submit_one(folder: RunFolder, submission: Submission, slurm: Slurm) -> int:
    files = SlurmFiles.of(folder)
    number, tasks = submission.number, len(submission.chunks)
    # On disk before sbatch: a task may start before sbatch has answered.
    files.write_submission(submission)
    script = files.write_script(number, _script(folder.path.resolve(), number, submission.job, tasks))
    try:
        job_id = slurm.submit(script)
    except BenchError:
        files.forget_submission(number)
        raise
    files.write_submission(replace(submission, job_id=job_id))
    return job_id
