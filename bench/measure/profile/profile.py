"""One cell to its profile: the timed passes first, then what disturbs, then what forgets what was compiled.

build, first and second step          start-up; parameters without a gradient
collect                               plain and profiled steps in turn
waiting lines, memory, trace          passes of their own
count                                 FLOPs and bytes by layer, on tensors without storage
compiling                             graph breaks
half the batch; options               other steps of the same model, for the advice
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from bench.core import __version__
from bench.core.advice import AdviceKind
from bench.core.cell import Cell, CompileMode, Mode
from bench.core.profile import Compilation, MemoryProfile, Profile, ProfileOptions, StartUp, SyncPoint
from bench.core.progress import tell, told
from bench.core.record import Counters
from bench.core.workload import Workload
from bench.counters.build import whole
from bench.counters.fakes import fake_step
from bench.counters.flops import count_workload
from bench.device.backend import backend_of, is_accelerator, synchronize
from bench.device.gradients import settle_scale
from bench.device.prepare import prepare
from bench.device.step import Step
from bench.measure.profile.advice import Findings, find_advice, options_for, try_option
from bench.measure.profile.collect import Collected, collect, write_trace
from bench.measure.profile.passes import feed_batches, find_breaks, find_syncs, graphs_so_far, profile_memory
from bench.measure.profile.rows import layer_rows, middle_half, operator_rows
from bench.measure.profile.times import idle_gaps
from bench.measure.profile.work import Work, count_work
from bench.measure.window import Window
from bench.registry.optimizers import OPTIMIZERS

SLOW_STEP_SECONDS = 0.5
"""A step this long is not made of launches: half its batch is not measured."""

Found = TypeVar("Found")


@dataclass(slots=True)
class _Passes:
    """What the passes over one prepared step gave."""

    start_up: StartUp
    collected: Collected
    unused: list[tuple[str, int]]
    optimizer: str | None
    is_fused: bool
    syncs: tuple[SyncPoint, ...] = ()
    memory: MemoryProfile | None = None
    trace_note: str | None = None
    compilation: Compilation | None = None
    work: Work | None = None


def profile_cell(
    workload: Workload,
    cell: Cell,
    options: ProfileOptions,
    *,
    flops_per_byte: float | None = None,
    window: Window | None = None,
) -> Profile:
    """Profile one cell; call it in a fresh process.

    The balance of the device, from measured peaks, is for advice on layers that are bound by memory. `window` is that
    of the plain and the profiled steps.
    """
    notes: list[str] = []
    passes = _run_passes(workload, cell, options, notes, window)
    counters, _ = count_workload(
        workload, mode=cell.mode, batch_size=cell.batch_size, precision=cell.precision, opinions=False
    )
    profile = _assemble(cell, passes, counters, notes, flops_per_byte)
    findings = _findings(workload, profile, passes)
    if options.is_trying:
        tried = options_for(profile, findings)
        trials = tuple(
            try_option(workload, cell, option.cell, kind=option.kind, option=option.text)
            for option in told(tried, "trying options", len(tried))
        )
        profile = replace(profile, trials=trials)
    return replace(
        profile,
        advice=find_advice(profile, findings),
        trace=options.trace if passes.trace_note else None,
        trace_note=passes.trace_note,
        notes=tuple(notes),
    )


def _run_passes(
    workload: Workload, cell: Cell, options: ProfileOptions, notes: list[str], window: Window | None
) -> _Passes:
    """Run everything that needs the prepared step."""
    graphs = graphs_so_far()
    started = time.perf_counter()
    with prepare(workload, cell) as step:
        synchronize(cell.device)
        built = time.perf_counter()
        step()
        synchronize(cell.device)
        first = time.perf_counter()
        compiled = graphs_so_far() - graphs
        unused = _step_and_find_unused(step)
        synchronize(cell.device)
        start_up = StartUp(
            build_seconds=built - started,
            first_step_seconds=first - built,
            second_step_seconds=time.perf_counter() - first,
        )
        settle_scale(step)
        collected = collect(step, cell, steps=options.steps, window=window)
        again = graphs_so_far() - graphs - compiled
        passes = _Passes(
            start_up=start_up,
            collected=collected,
            unused=unused,
            optimizer=type(step.optimizer).__name__.lower() if step.optimizer else None,
            is_fused=any(group.get("fused") for group in step.optimizer.param_groups) if step.optimizer else False,
        )
        if options.trace:
            path = Path(options.trace)
            passes.trace_note = _attempt("trace", notes, lambda: write_trace(step, cell, path))
        if cell.compile is CompileMode.NONE:
            passes.syncs = _attempt("synchronisations", notes, lambda: find_syncs(step)) or ()
        if options.is_with_memory:
            passes.memory = _attempt("memory", notes, lambda: profile_memory(workload, cell, step))
        passes.work = _attempt("bytes", notes, lambda: _count_work(workload, cell, step))
        if cell.compile is not CompileMode.NONE:
            batches = (cell.batch_size + 1, cell.batch_size + 2) if options.is_trying else ()
            extra = _attempt("other batches", notes, lambda: feed_batches(step, workload, batches, cell.device))
            passes.compilation = Compilation(
                graphs=compiled,
                recompilations=again,
                batches_tried=batches,
                batch_recompilations=extra if batches else None,
                breaks=_attempt("graph breaks", notes, lambda: find_breaks(step)) or (),
            )
    return passes


def _count_work(workload: Workload, cell: Cell, step: Step) -> Work | None:
    """Count bytes on fake tensors, or on the real step where it reads values; a compiled one shows no operations."""
    try:
        with fake_step(workload, cell) as fake:
            fake()
            return count_work(fake)
    except Exception:
        if cell.compile is not CompileMode.NONE:
            raise
        return count_work(step)


def _attempt(what: str, notes: list[str], do: Callable[[], Found]) -> Found | None:
    """Run a pass that the profile can do without; where it fails, note why."""
    tell(f"profiling: {what}")
    try:
        return do()
    except Exception as error:  # noqa: BLE001 - a user's model can raise anything; the reason is kept and reported
        notes.append(f"{what} not measured: {type(error).__name__}: {str(error).partition(chr(10))[0]}")
        return None


def _step_and_find_unused(step: Step) -> list[tuple[str, int]]:
    """Run one step, and name the trainable parameters that got no gradient, with their elements."""
    if not step.is_training:
        step()
        return []
    used: set[str] = set()
    trainable = [(name, one) for name, one in whole(step.networks).named_parameters() if one.requires_grad]
    hooks = [
        one.register_post_accumulate_grad_hook(lambda _, name=name: used.add(name))  # type: ignore[no-untyped-call]
        for name, one in trainable
    ]
    try:
        step()
    finally:
        for hook in hooks:
            hook.remove()
    return [(name, one.numel()) for name, one in trainable if name not in used]


def _assemble(
    cell: Cell, passes: _Passes, counters: Counters, notes: list[str], flops_per_byte: float | None
) -> Profile:
    collected = passes.collected
    is_device = is_accelerator(cell.device) and bool(collected.device_steps)
    if is_accelerator(cell.device) and not is_device:
        notes.append("the profiler recorded no kernels: rows are times of the host")
    steps = middle_half(collected.device_steps if is_device else collected.steps)
    host = middle_half(collected.steps) if is_device else None
    plain = collected.plain_seconds if is_device or not is_accelerator(cell.device) else collected.plain_host_seconds
    step_seconds = statistics.median(plain)
    counts = counters.layers
    if cell.compile is not CompileMode.NONE:
        notes.append("compiled: layers are fused into graphs, so time is per graph, and FLOPs and bytes per layer")
    return Profile(
        cell=cell,
        clock="device" if is_device else "host",
        step_seconds=step_seconds,
        steps_seconds=plain,
        profiled_step_seconds=statistics.fmean(step.nanoseconds for step in steps) / 1e9,
        profiled_steps=len(steps),
        host_step_seconds=collected.launch_seconds,
        layers=layer_rows(steps, host, step_seconds, {} if is_device else collected.plain_phases, counts, passes.work),
        operators=operator_rows(steps, host, step_seconds, passes.work),
        flops=counters.flops,
        flops_per_byte=flops_per_byte,
        idle=idle_gaps(collected.device_steps) if is_device else (),
        syncs=passes.syncs,
        memory=passes.memory,
        start_up=passes.start_up,
        compilation=passes.compilation,
        stepbench=__version__,
    )


def _findings(workload: Workload, profile: Profile, passes: _Passes) -> Findings:
    cell = profile.cell
    fused = f"{passes.optimizer}-fused"
    return Findings(
        unused_parameters=tuple(name for name, _ in passes.unused),
        unused_elements=sum(elements for _, elements in passes.unused),
        fixed_seconds=_fixed_seconds(workload, profile),
        fused_optimizer=fused if fused in OPTIMIZERS and not passes.is_fused else None,
        can_tf32=backend_of(cell.device).has_tf32,
    )


def _fixed_seconds(workload: Workload, profile: Profile) -> float | None:
    """Extrapolate the step to a batch of nothing, from this batch and half of it, timed in turn.

    Not for compiled cells, which would compile again, nor for slow ones.
    """
    cell = profile.cell
    half = cell.batch_size // 2
    is_worth_it = profile.step_seconds < SLOW_STEP_SECONDS and cell.compile is CompileMode.NONE
    if half < 1 or not is_worth_it or (half == 1 and cell.mode is Mode.TRAIN):  # batch normalisation needs two
        return None
    trial = try_option(
        workload, cell, replace(cell, batch_size=half), kind=AdviceKind.BATCH_TOO_SMALL, option="", quads=3
    )
    if trial.base_seconds is None or trial.tried_seconds is None:
        return None
    whole, part = trial.base_seconds * cell.batch_size, trial.tried_seconds * half
    slope = (whole - part) / (cell.batch_size - half)
    return max(0.0, whole - slope * cell.batch_size)
