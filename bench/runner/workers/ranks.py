"""A cell of several processes: what each rank does, and how the ranks' answers become the cell's.

`time_ranks` and `measure_rank_peaks` run in a fresh process each, the agent, which launches the ranks and joins what
they found; only the ranks run torch operations.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch

from bench import registry
from bench.core.advice import Advice, AdviceKind, doubts_of_machine
from bench.core.cell import Cell
from bench.core.environment import MachineState, RankSetup
from bench.core.record import Memory, Sample, Sampling
from bench.counters.memory import COMPILING_STEPS, measure_memory
from bench.device.backend import backend_of, is_accelerator
from bench.device.cpu import Reading, usable_cores
from bench.device.environment import state_between
from bench.device.gradients import settle_scale
from bench.device.prepare import prepare
from bench.device.ranks import Ranks, joined
from bench.measure.profile.collect import TRACED_STEPS, write_trace
from bench.measure.timing import time_step
from bench.measure.window import Window
from bench.runner.endings import Ending
from bench.runner.workers.answers import TimedCell
from bench.runner.workers.cells import problem_of, seconds_of_build, with_build
from bench.runner.workers.launch import RanksEnded, launch
from bench.runner.workers.nodes import host_name, launch_on_nodes


@dataclass(frozen=True, slots=True)
class RankTiming:
    """What timing gives on one rank."""

    samples: tuple[Sample, ...]
    advice: tuple[Advice, ...]
    final_loss: float | None
    tokens_per_example: int | None
    host: str
    before: Reading
    after: Reading
    state: MachineState


def time_ranks(
    cell: Cell,
    sampling: Sampling,
    process: int,
    predicted_bytes: int | None,
    timeout_seconds: float | None,
) -> TimedCell | Ending:
    """Measure the step and its phases on every rank, and the state of the machine around them.

    With `predicted_bytes`, of one rank, nothing is tried if less memory than all ranks of a device need is free.
    """
    devices = devices_of(cell)
    reason = backend_of(cell.device).why_not_ranks(cell.ranks_per_node)
    if reason is not None:
        return TimedCell(skipped=reason)
    setup = _setup_of(cell, devices)
    is_shared = not backend_of(cell.device).is_asynchronous
    if is_shared:
        needed = None if predicted_bytes is None else predicted_bytes * cell.ranks_per_node
        problem = problem_of(cell, needed)
        if problem is not None:
            return problem
        predicted_bytes = None
    try:
        found = _launch(cell, timeout_seconds, _time_rank, cell, setup, sampling, process, predicted_bytes)
    except RanksEnded as ended:
        return replace(ended.ending, ranks=replace(setup, hosts=ended.hosts))
    problems = [one for one in found if isinstance(one, TimedCell)]
    if problems:  # its own words say more than that it was another's
        return next((one for one in problems if one.skipped != _ANOTHERS), problems[0])
    ranks: tuple[RankTiming, ...] = found
    hosts = tuple(rank.host for rank in ranks)
    states = [one for host in dict.fromkeys(hosts) for one in _states([rank for rank in ranks if rank.host == host])]
    losses = [rank.final_loss for rank in ranks if rank.final_loss is not None]
    return TimedCell(
        samples=tuple(sample for rank in ranks for sample in rank.samples),
        advice=(
            *_first_of_each_kind(doubt for rank in ranks for doubt in rank.advice),
            *_first_of_each_kind(doubt for state in states for doubt in doubts_of_machine(state, cell.device)),
            *_advice_on_threads(setup, cell.ranks_per_node),
        ),
        final_loss=sum(losses) / len(losses) if len(losses) == len(ranks) else None,
        tokens_per_example=ranks[0].tokens_per_example,
        state=states[0],
        ranks=replace(setup, hosts=hosts) if cell.nodes > 1 else setup,
    )


def measure_rank_peaks(cell: Cell, timeout_seconds: float | None) -> Memory | Ending:
    """Read the peak memory of live steps on every rank, and return the rank's that needs most."""
    try:
        setup = _setup_of(cell, devices_of(cell))
        peaks: tuple[Memory, ...] = _launch(cell, timeout_seconds, _measure_peak, cell, setup)
    except RanksEnded as ended:
        return ended.ending
    rank = max(range(len(peaks)), key=lambda index: _size(peaks[index]))
    return replace(peaks[rank], method=f"{peaks[rank].method}; rank {rank} of {len(peaks)}, which needs most")


def trace_ranks(cell: Cell, path: str, timeout_seconds: float | None) -> tuple[str, ...] | Ending:
    """Write a trace of a few steps of every rank, each into a file of its own; return in words what they hold."""
    try:
        return _launch(cell, timeout_seconds, _trace_rank, cell, _setup_of(cell, devices_of(cell)), path)
    except RanksEnded as ended:
        return ended.ending


def devices_of(cell: Cell) -> tuple[str, ...]:
    """Name the device of each rank: all on the CPU, or one GPU each from the cell's on, on each node."""
    first = backend_of(cell.device)
    return tuple(first.sibling(rank % cell.ranks_per_node).device for rank in range(cell.world_size))


def _launch(
    cell: Cell, timeout_seconds: float | None, function: Callable[..., Any], *arguments: Any
) -> tuple[Any, ...]:
    if cell.nodes == 1:
        return launch(function, *arguments, world_size=cell.world_size, timeout_seconds=timeout_seconds)
    per_node = cell.ranks_per_node
    return launch_on_nodes(function, *arguments, nodes=cell.nodes, ranks=per_node, timeout_seconds=timeout_seconds)


_ANOTHERS = "the device of another rank cannot"


def _problem_of_any(cell: Cell, needed: int | None, ranks: Ranks) -> TimedCell | None:
    """Return why this rank's device cannot, or that another's cannot: then none of them goes on.

    No fork survives the start of an accelerator, so its ranks ask for themselves.
    """
    problem = problem_of(cell, needed)
    (is_any,) = ranks.agree([float(problem is not None)])
    return problem or (TimedCell(skipped=_ANOTHERS) if is_any else None)


def _setup_of(cell: Cell, devices: tuple[str, ...]) -> RankSetup:
    """Give each rank its share of the threads that torch would take alone, unless the cell asks for a number."""
    return RankSetup(
        backend=backend_of(cell.device).collective,
        threads=cell.threads or max(1, torch.get_num_threads() // cell.ranks_per_node),
        devices=devices,
    )


def _cell_of_rank(cell: Cell, setup: RankSetup) -> Cell:
    return replace(cell, device=setup.devices[int(os.environ["RANK"])], threads=setup.threads)


def _time_rank(
    cell: Cell, setup: RankSetup, sampling: Sampling, process: int, predicted_bytes: int | None
) -> RankTiming | TimedCell:
    cell = _cell_of_rank(cell, setup)
    window = _window_of(cell.device)
    started = time.perf_counter()
    workload = registry.resolve(cell.model, input_shape=cell.input_shape)
    with joined(cell.device) as ranks:
        problem = _problem_of_any(cell, predicted_bytes, ranks) if is_accelerator(cell.device) else None
        if problem is not None:
            return problem
        with prepare(workload, cell, ranks=ranks) as step:
            built = seconds_of_build(started, cell.device)
            ranks.wait()
            timing = time_step(step, cell.device, sampling, process=process, team=ranks, window=window)
            state = window.state()
    return RankTiming(
        samples=tuple(replace(sample, rank=ranks.rank) for sample in with_build(timing.samples, built)),
        advice=timing.advice,
        final_loss=timing.final_loss,
        tokens_per_example=workload.tokens_per_example,
        host=host_name(),
        before=window.before,
        after=window.after,
        state=state,
    )


def _window_of(device: str) -> Window:
    """Look at the load of a rank's own device, before it works on it; only CUDA knows the name of another GPU."""
    if not is_accelerator(device):
        return Window(device, None)
    backend = backend_of(device)
    backend.start()
    return Window(device, backend.facts().get("gpu_uuid"))


def _measure_peak(cell: Cell, setup: RankSetup) -> Memory:
    cell = _cell_of_rank(cell, setup)
    workload = registry.resolve(cell.model, input_shape=cell.input_shape)
    with joined(cell.device) as ranks:
        return measure_memory(workload, cell, ranks=ranks)


def _trace_rank(cell: Cell, setup: RankSetup, path: str) -> str:
    cell = _cell_of_rank(cell, setup)
    workload = registry.resolve(cell.model, input_shape=cell.input_shape)
    with joined(cell.device) as ranks, prepare(workload, cell, ranks=ranks) as step:
        for _ in range(COMPILING_STEPS):
            step()
        settle_scale(step)
        ranks.wait()
        own = Path(path).with_name(f"rank{ranks.rank}-{Path(path).name}")
        found = write_trace(step, cell, own, steps=TRACED_STEPS)  # as many on each: they wait for each other
        ranks.wait()
    return found


def _size(memory: Memory) -> int:
    return memory.peak_allocated_bytes or memory.step_resident_bytes or memory.peak_resident_bytes or 0


def _states(ranks: Sequence[RankTiming]) -> list[MachineState]:
    """Derive the machine's state around the ranks of a host, with the GPU of each: first the one with the lowest clock.

    All wait for that one. What a rank did does not count as load by others.
    """

    def joint(readings: list[Reading]) -> Reading:
        return replace(
            readings[0],
            own_seconds=sum(reading.own_seconds for reading in readings),
            involuntary_switches=sum(reading.involuntary_switches for reading in readings),
        )

    joined_state = state_between(joint([r.before for r in ranks]), joint([r.after for r in ranks]))
    own = sorted((rank.state for rank in ranks), key=lambda state: state.gpu_clock_mhz or math.inf)
    names = [field.name for field in fields(MachineState) if field.name.startswith("gpu_")]
    return [replace(joined_state, **{name: getattr(state, name) for name in names}) for state in own]


def _first_of_each_kind(doubts: Iterable[Advice]) -> tuple[Advice, ...]:
    """Return each doubt once, with the facts of the first rank that has it."""
    kinds: dict[AdviceKind, Advice] = {}
    for advice in doubts:
        kinds.setdefault(advice.kind, advice)
    return tuple(kinds.values())


def _advice_on_threads(setup: RankSetup, world_size: int) -> tuple[Advice, ...]:
    cores = usable_cores()
    if setup.threads * world_size <= cores or backend_of(setup.devices[0]).is_asynchronous:
        return ()
    facts: tuple[tuple[str, Any], ...] = (("ranks", world_size), ("threads_per_rank", setup.threads), ("cores", cores))
    return (Advice(kind=AdviceKind.OVERSUBSCRIBED, facts=facts),)
