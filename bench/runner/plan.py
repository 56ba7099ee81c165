"""From cells as typed to cells that this machine knows: devices completed, names checked, environments read.

And which of a run's cells still have to be measured: what is measured is addressed by cell, code and environment.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from bench import registry
from bench.core.advice import DOUBTED, NEEDS_MORE_STEPS, UNFIT_TO_COMPARE, AdviceKind
from bench.core.cell import Cell, Parallel
from bench.core.environment import Environment
from bench.core.errors import BenchError, StoreError, UsageError
from bench.core.inputs import InputShape
from bench.core.progress import tell
from bench.core.record import Outcome, Record, Sampling
from bench.device.backend import ALL, AUTO, check_device, is_accelerator
from bench.registry.code import code_hash
from bench.registry.optimizers import check_optimizer
from bench.runner import processes
from bench.runner.workers.answers import Preflight
from bench.store.runs import RunFolder


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Cells with full device names, the environment of each device, and the full name of each device as asked for.

    Attributes:
        near: CPUs on the NUMA node of each device, where workers must not share them.
    """

    cells: tuple[Cell, ...]
    environments: Mapping[str, Environment]
    devices: Mapping[str, str] = field(default_factory=dict)
    near: Mapping[str, frozenset[int]] = field(default_factory=dict)

    def lane(self, cell: Cell) -> Hashable:
        """Name what a cell shares with no other at the same time: its device, or the CPUs near that; None is all."""
        if not is_accelerator(cell.device) or cell.world_size > 1:
            return None
        return self.near.get(cell.device) or cell.device

    def uuid_of(self, cell: Cell) -> str | None:
        """Return the name of a cell's GPU for its driver."""
        return self.environments[cell.device].gpu_uuid


MOST_RANKS = 1024
"""On one machine: more is a slip of the finger, and forks until it is out of memory."""

LEAST_PREFLIGHT_SECONDS = 10.0
"""However little a cell may take: importing torch and the models takes seconds on a busy machine."""


def preflight_limit(timeout_seconds: float | None) -> float | None:
    """Return the timeout of looking for devices and models, from that of a cell's processes."""
    return None if timeout_seconds is None else max(timeout_seconds, LEAST_PREFLIGHT_SECONDS)


def check_cells(cells: Sequence[Cell], *, method: str = "forkserver", nodes: int = 1) -> None:
    """Refuse what the names alone tell, without importing torch or a model: a dry run and a run refuse the same.

    Raises:
        BenchError: See `make_plan`.
    """
    for cell in cells:
        if cell.world_size > 1 and method == "inline":
            raise UsageError(
                f"{cell.id} needs {cell.world_size} processes, and the executor inline has one; choose forkserver"
            )
        check_nodes(cell)
        if cell.nodes > nodes:
            raise UsageError(f"{cell.id} needs {cell.nodes} nodes of a cluster; add --executor slurm")
        check_device(cell.device)
        if cell.optimizer is not None:
            check_optimizer(cell.optimizer)
    for model, input_shape in dict.fromkeys((cell.model, cell.input_shape) for cell in cells):
        registry.check(model, input_shape)


def check_nodes(cell: Cell) -> None:
    """Refuse a cell whose processes cannot be spread evenly, or that no machine bears.

    Raises:
        UsageError: They cannot.
    """
    if cell.ranks_per_node > MOST_RANKS:
        raise UsageError(
            f"{cell.id} starts {cell.ranks_per_node} processes on a machine; "
            f"--world-size is at most {MOST_RANKS} per node"
        )
    if cell.world_size % cell.nodes:
        fitting = cell.nodes * max(1, round(cell.world_size / cell.nodes))
        raise UsageError(
            f"{cell.id}: {cell.world_size} processes cannot be spread evenly over {cell.nodes} nodes; "
            f"write for example --world-size {fitting}"
        )


def check_here(cells: Sequence[Cell], *, method: str = "forkserver", timeout_seconds: float | None = None) -> None:
    """Refuse what a run refuses before its first cell.

    Only accelerators, options of models and models of the user's own need torch for that, in a process of its own.

    Raises:
        BenchError: See `make_plan`.
    """
    check_cells(cells, method=method)
    devices = tuple(dict.fromkeys(cell.device for cell in cells if cell.device != AUTO and is_accelerator(cell.device)))
    asked = dict.fromkeys((cell.model, cell.input_shape) for cell in cells)
    models = tuple((model, shape) for model, shape in asked if registry.needs_import(model))
    if devices or models:
        tell("loading torch and the models")
        processes.preload_libraries([model for model, _ in models])
        preflight(devices, models, method=method, timeout_seconds=timeout_seconds)


def preflight(devices: tuple[str, ...], models: tuple[tuple[str, InputShape | None], ...], **limits: Any) -> Preflight:
    """Look for devices and models in a fresh process; `limits` as in `processes.call`.

    Raises:
        BenchError: One of them is not there, or the process took too long.
    """
    ending = processes.call("bench.runner.workers.cells:preflight", devices, models, **limits)
    if ending.error is not None:
        raise ending.error
    if ending.outcome is not Outcome.OK:
        raise BenchError(f"the machine could not be read: {ending.reason}. {ending.output_tail or ''}".strip())
    answer: Preflight = ending.value
    return answer


def make_plan(
    cells: Sequence[Cell],
    *,
    method: str = "forkserver",
    timeout_seconds: float | None = None,
    pool: Sequence[str] = (),
    nodes: int | None = None,
) -> Plan:
    """Check cells before anything is measured, in a fresh process, because that needs torch.

    The cells of accelerators are shared out over the accelerators in `pool`, which may be `all`. In a task of a
    cluster, of so many `nodes`, the cells stay as they were planned.

    Raises:
        BenchError: A model, a device or an optimizer is not there, or a cell needs processes that `method` has not.
    """
    if pool and method == "inline":
        raise UsageError("--devices gives each accelerator a worker process, and the executor inline has none")
    for device in pool:
        if device != ALL:
            check_device(device)
    tell("loading torch and the models")
    check_cells(cells, method=method, nodes=nodes or 1)
    processes.preload_libraries([cell.model for cell in cells])
    if any(cell.world_size > 1 for cell in cells):
        processes.preload("bench.runner.workers.ranks")
    devices = tuple(dict.fromkeys((*(cell.device for cell in cells), *pool)))
    models = tuple(dict.fromkeys((cell.model, cell.input_shape) for cell in cells))
    answer = preflight(devices, models, method=method, timeout_seconds=timeout_seconds)
    for note in answer.notes:
        print(note, file=sys.stderr)
    names = dict(answer.devices)
    workers = dict.fromkeys(name for one in pool for name in names[one].split(","))
    completed = dict.fromkeys(share_out([replace(cell, device=names[cell.device]) for cell in cells], tuple(workers)))
    environments = dict(answer.environments)
    planned = tuple(completed)
    if nodes is None:
        planned = share_threads(planned, environments)
    return Plan(cells=planned, environments=environments, devices=names)


def share_out(cells: Sequence[Cell], workers: Sequence[str]) -> Sequence[Cell]:
    """Give the cells of one accelerator to these in turn; the same cells always go to the same ones.

    Raises:
        UsageError: One of them is no accelerator, or no cell is of one.
    """
    if not workers:
        return cells
    for worker in workers:
        if not is_accelerator(worker):
            raise UsageError(f"--devices is for accelerators, each with a worker of its own; {worker} is none")
    turns = itertools.cycle(workers)
    shared = [
        replace(cell, device=next(turns)) if is_accelerator(cell.device) and cell.world_size == 1 else cell
        for cell in cells
    ]
    if shared == list(cells) and not any(is_accelerator(cell.device) for cell in cells):
        raise UsageError("--devices shares out the cells of accelerators, and there are none; add -d cuda")
    return shared


def share_threads(cells: Sequence[Cell], environments: Mapping[str, Environment]) -> tuple[Cell, ...]:
    """Give the same threads per process to cells that are compared by their number of processes.

    As many as the most processes of them have when they share what torch would take alone. Only on a CPU, only beside a
    cell of one process, which has the batch of each of them (weak scaling) or of all together (strong), and only where
    no threads were asked for.
    """
    most = {_alone(cell): 1 for cell in cells if cell.world_size == 1}  # processes beside a cell of one
    beside = {cell: [one for one in _partners(cell) if one in most] for cell in cells if cell.world_size > 1}
    is_settled = False
    while not is_settled:  # cells of two batches may meet in a third
        is_settled = True
        for cell, partners in beside.items():
            highest = max((cell.world_size, *(most[one] for one in partners)))
            for one in partners:
                is_settled = is_settled and most[one] == highest
                most[one] = highest

    def shared(cell: Cell) -> Cell:
        partners = beside.get(cell, [_alone(cell)] if cell.world_size == 1 else [])
        count = max((most[one] for one in partners), default=1)
        if count == 1 or cell.threads is not None or is_accelerator(cell.device):
            return cell
        return replace(cell, threads=max(1, environments[cell.device].threads // count))

    return tuple(dict.fromkeys(map(shared, cells)))


def _partners(cell: Cell) -> tuple[Cell, ...]:
    """Return the cells of one process that one of several is compared with: by weak and by strong scaling."""
    weak = _alone(cell)
    return weak, replace(weak, batch_size=cell.batch_size * cell.world_size)


def _alone(cell: Cell) -> Cell:
    return replace(cell, world_size=1, nodes=1, parallel=Parallel.DDP)


class Again(StrEnum):
    """Why a cell is measured, again or at last."""

    NO_RECORD = "without a record"
    ENDED_BADLY = "that ended badly"
    INCOMPLETE = "whose count or memory failed"
    MEMORY = "skipped for lack of memory"
    CODE = "whose model was edited, or whose code was not recorded"
    ENVIRONMENT = "measured in another environment"
    SAMPLING = "sampled by other settings"
    DOUBTED = "whose times are in doubt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Remaining:
    """A run before it is resumed.

    Attributes:
        kept: Records that stand as they are.
        again: What is to be measured, and why.
        problems: One line per record file that cannot be read; its cell, if planned, is measured again.
    """

    kept: tuple[Record, ...]
    again: tuple[tuple[Cell, Again], ...]
    problems: tuple[StoreError, ...] = ()


def remaining(
    folder: RunFolder,
    cells: Sequence[Cell],
    environments: Mapping[str, Environment],
    sampling: Sampling,
    *,
    retried: Collection[str] | None = None,
) -> Remaining:
    """Compare what is on disk with what is asked for, in these environments of this machine, by device.

    Of the cells that ended badly or are incomplete, only those that ended like `retried` are tried again; None: all.
    With `DOUBTED`, cells whose times are in doubt are measured again, and no others for having been sampled by other
    settings.

    Raises:
        StoreError: A newer stepbench wrote a record; it is left alone.
    """
    records, problems = folder.read_records()
    for problem in problems:
        if problem.is_other_version:
            raise problem
    known = {record.cell.key: record for record in records}
    codes = {model: code_hash(model) for model in dict.fromkeys(cell.model for cell in cells)}
    kept, again = [], []
    for cell in cells:
        record = known.get(cell.key)
        environment = environments.get(cell.device)
        reason = Again.NO_RECORD if record is None else _why_again(record, codes[cell.model], environment, sampling)
        if record is not None and retried is not None:
            reason = _only(retried, record, reason)
        if reason is None and record is not None:
            kept.append(record)
        elif reason is not None:
            again.append((cell, reason))
    return Remaining(kept=tuple(kept), again=tuple(again), problems=problems)


def _why_again(record: Record, code: str | None, environment: Environment | None, sampling: Sampling) -> Again | None:
    """Explain why a record does not stand for its cell any more; None if it does."""
    if code is None or record.code != code:
        return Again.CODE
    if _fingerprint(record.environment) != _fingerprint(environment):
        return Again.ENVIRONMENT
    if not _is_sampled(record, sampling):
        return Again.SAMPLING
    if any(advice.kind is AdviceKind.MEMORY_TOO_SMALL for advice in record.advice):
        return Again.MEMORY
    if record.outcome in (Outcome.OK, Outcome.SKIPPED) and not _is_whole(record):
        return Again.INCOMPLETE
    return None if record.outcome in (Outcome.OK, Outcome.SKIPPED) else Again.ENDED_BADLY


def _only(retried: Collection[str], record: Record, reason: Again | None) -> Again | None:
    """Narrow the reason to measure a cell again to what was asked for."""
    if reason in (Again.ENDED_BADLY, Again.INCOMPLETE):
        return reason if record.outcome in retried else None
    if DOUBTED in retried and reason in (None, Again.SAMPLING):
        kinds = {advice.kind for advice in record.advice}
        return Again.DOUBTED if kinds & (NEEDS_MORE_STEPS | UNFIT_TO_COMPARE) else None
    return reason


def _is_sampled(record: Record, sampling: Sampling) -> bool:
    """Whether a record was sampled as asked, or longer."""
    if (own := record.sampling) is None or own.budget_seconds < sampling.budget_seconds:
        return False
    steps = max(own.max_steps, sampling.max_steps)
    return own == replace(sampling, budget_seconds=own.budget_seconds, max_steps=steps)


def _is_whole(record: Record) -> bool:
    """Whether it was counted and its memory measured, too: the processes that do so may be killed as the others may."""
    kinds = {advice.kind for advice in record.advice}
    is_due = record.outcome is Outcome.OK or AdviceKind.COUNT_FAILED in kinds  # what a probe skips is not counted
    is_counted = record.counters.parameters is not None
    return (is_counted or not is_due) and AdviceKind.MEMORY_UNMEASURED not in kinds


def _fingerprint(environment: Environment | None) -> str | None:
    return environment.fingerprint if environment else None
