"""What the figures of a profile suggest, and which option to try about it. Facts only; the words are in `report`.

Try an option: the cell as it is and a changed one, in one process, in blocks that alternate ABBA.

The ratio is per example. Its interval covers this process: another one has a speed of its own, about 2 % apart; for a
verdict on code use `bench ab`.
"""

from __future__ import annotations

import contextlib
import math
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from bench.core.advice import Advice, AdviceKind
from bench.core.cell import Cell, CompileMode, MemoryFormat, Precision
from bench.core.precision import Arithmetic
from bench.core.profile import OPTIMIZER, ZERO_GRAD, Profile, ProfiledLayer, Trial
from bench.core.workload import Workload
from bench.device.backend import why_not
from bench.device.prepare import prepare
from bench.device.settings import cell_settings
from bench.device.step import Step
from bench.measure.blocks import time_visit, warm_up, without_garbage_collection
from bench.measure.clock import Clock, clock_for
from bench.stats.shift import estimate_shift

LAUNCH_BOUND_FRACTION = 0.9  # as in measure.timing
FIXED_SHARE = 0.5
OPTIMIZER_SHARE = 0.25
LAYER_SHARE = 0.15
CONVOLUTION_SHARE = 0.3
OVERHEAD = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What was looked at beside the profile.

    Attributes:
        unused_parameters: Names of trainable parameters without a gradient after backward.
        unused_elements: Their elements.
        fixed_seconds: What a step costs whatever the batch, from two batch sizes; None where that was not measured.
        fused_optimizer: Name of the optimizer's fused implementation; None if it is fused already, or there is none.
        can_tf32: Whether the device has matrix units for TF32.
    """

    unused_parameters: tuple[str, ...] = ()
    unused_elements: int = 0
    fixed_seconds: float | None = None
    fused_optimizer: str | None = None
    can_tf32: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """What can be tried about an advice; `text` as typed."""

    kind: AdviceKind
    text: str
    cell: Cell


def find_advice(profile: Profile, findings: Findings) -> tuple[Advice, ...]:
    """Name what stands out, each with the figures behind it; trials in the profile are taken into account."""
    return tuple(_advice(profile, findings))


def options_for(profile: Profile, findings: Findings) -> tuple[Option, ...]:
    """List the options worth a trial on this cell."""
    cell = profile.cell
    kinds = {advice.kind for advice in find_advice(profile, findings)}
    found = []
    if AdviceKind.BATCH_TOO_SMALL in kinds:
        larger = 4 * cell.batch_size
        found.append(_option(cell, AdviceKind.BATCH_TOO_SMALL, f"-b {larger}", batch_size=larger))
    if AdviceKind.LAUNCH_BOUND in kinds and cell.compile is CompileMode.NONE:
        mode = CompileMode.REDUCE_OVERHEAD
        found.append(_option(cell, AdviceKind.LAUNCH_BOUND, f"--compile {mode.value}", compile=mode))
    if findings.fused_optimizer and AdviceKind.OPTIMIZER_DOMINATED in kinds:
        text = f"--optimizer {findings.fused_optimizer}"
        found.append(_option(cell, AdviceKind.OPTIMIZER_DOMINATED, text, optimizer=findings.fused_optimizer))
    if AdviceKind.CHANNELS_LAST in kinds:
        layout = MemoryFormat.CHANNELS_LAST
        text = f"--memory-format {layout.value}"
        found.append(_option(cell, AdviceKind.CHANNELS_LAST, text, memory_format=layout))
    if AdviceKind.TF32_OFF in kinds:
        found.append(_option(cell, AdviceKind.TF32_OFF, "--precision tf32", precision=Precision.TF32))
    if cell.precision.row.arithmetic is Arithmetic.BF16:
        found.append(_option(cell, AdviceKind.BF16_SLOWER, "--precision fp32", precision=Precision.FP32))
    return tuple(found)


def _option(cell: Cell, kind: AdviceKind, text: str, **changes: object) -> Option:
    return Option(kind=kind, text=text, cell=replace(cell, **changes))  # type: ignore[arg-type]


def _advice(profile: Profile, findings: Findings) -> Iterator[Advice]:
    step, cell = profile.step_seconds, profile.cell
    host = profile.host_step_seconds
    if host is not None and host > LAUNCH_BOUND_FRACTION * step:
        yield _say(AdviceKind.LAUNCH_BOUND, host_seconds=host, device_seconds=step)
    if findings.fixed_seconds is not None and findings.fixed_seconds > FIXED_SHARE * step:
        fixed = findings.fixed_seconds
        yield _say(AdviceKind.BATCH_TOO_SMALL, fixed_seconds=fixed, share_fraction=min(1.0, fixed / step))
    updating = sum(layer.seconds for layer in profile.layers if layer.name in (OPTIMIZER, ZERO_GRAD))
    if updating > OPTIMIZER_SHARE * step:
        yield _say(AdviceKind.OPTIMIZER_DOMINATED, update_seconds=updating, share_fraction=updating / step)
    yield from _memory_bound(profile)
    yield from _syncs(profile)
    if findings.unused_parameters:
        yield _say(
            AdviceKind.UNUSED_PARAMETERS,
            tensors=len(findings.unused_parameters),
            parameters=findings.unused_elements,
            first=findings.unused_parameters[0],
        )
    compiled = profile.compilation
    if compiled and (compiled.recompilations or (compiled.batch_recompilations or 0) > 1):
        yield _say(
            AdviceKind.RECOMPILATION,
            in_equal_steps=compiled.recompilations,
            for_other_batches=compiled.batch_recompilations or 0,
            graphs=compiled.graphs,
        )
    if findings.can_tf32 and cell.precision is Precision.FP32 and profile.flops and profile.flops.forward:
        yield _say(AdviceKind.TF32_OFF, flops=profile.flops.total or 0)
    yield from _channels_last(profile)
    for trial in profile.trials:
        if trial.kind is AdviceKind.BF16_SLOWER and trial.has_helped:
            yield _say(AdviceKind.BF16_SLOWER, fp32_over_bf16=trial.ratio or 0.0, high=trial.high or 0.0)
    if profile.overhead_fraction > OVERHEAD:
        yield _say(AdviceKind.PROFILER_OVERHEAD, overhead_fraction=profile.overhead_fraction)


def _memory_bound(profile: Profile) -> Iterator[Advice]:
    """Name layers below the device's balance of FLOPs per byte; only where its peaks were measured."""
    if profile.flops_per_byte is None:
        return
    for layer in profile.layers:
        intensity = layer.arithmetic_intensity if _is_module(layer) else None
        if intensity is None and _is_module(layer) and layer.bytes_touched:
            intensity = 0.0
        if intensity is None or intensity >= profile.flops_per_byte:
            continue
        if layer.seconds > LAYER_SHARE * profile.step_seconds:
            yield _say(
                AdviceKind.MEMORY_BOUND_LAYER,
                layer=layer.name or "(the model itself)",
                share_fraction=layer.seconds / profile.step_seconds,
                flops_per_byte=intensity,
                device_flops_per_byte=profile.flops_per_byte,
            )


def _syncs(profile: Profile) -> Iterator[Advice]:
    if not profile.syncs:
        return
    first = profile.syncs[0]
    where = f"{first.file}:{first.line}" if first.file else first.operation
    yield _say(AdviceKind.HIDDEN_SYNC, calls=sum(sync.calls for sync in profile.syncs), at=where)


def _channels_last(profile: Profile) -> Iterator[Advice]:
    """Suggest the layout where convolutions matter; once it was tried, only if it helped."""
    trial = next((trial for trial in profile.trials if trial.kind is AdviceKind.CHANNELS_LAST), None)
    convolutions = sum(layer.seconds for layer in profile.layers if layer.type.startswith("Conv2d"))
    share = convolutions / profile.step_seconds
    if profile.cell.memory_format is MemoryFormat.CHANNELS_LAST or share < CONVOLUTION_SHARE:
        return
    if trial is None:
        yield _say(AdviceKind.CHANNELS_LAST, convolutions_fraction=share)
    elif trial.has_helped:
        yield _say(AdviceKind.CHANNELS_LAST, convolutions_fraction=share, time_ratio=trial.ratio or 0.0)


def _is_module(layer: ProfiledLayer) -> bool:
    return not layer.name.startswith("(")


def _say(kind: AdviceKind, **facts: str | int | float) -> Advice:
    return Advice(kind=kind, facts=tuple(facts.items()))


QUADS = 8
BLOCK_SECONDS = 0.05


def try_option(
    workload: Workload, base: Cell, changed: Cell, *, kind: AdviceKind, option: str, quads: int = QUADS
) -> Trial:
    """Measure what an option brings; a reason where the changed cell cannot run."""
    reason = why_not(changed.device, changed.precision)
    if reason is not None:
        return Trial(kind=kind, option=option, cell=changed, reason=reason)
    try:
        with contextlib.ExitStack() as stack:
            sides = [stack.enter_context(prepare(workload, cell)) for cell in (base, changed)]
            with without_garbage_collection():
                seconds, logs = _alternate(sides, (base, changed), quads)
    except (RuntimeError, ValueError, TypeError, NotImplementedError, torch.OutOfMemoryError) as error:
        words = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        return Trial(kind=kind, option=option, cell=changed, reason=words)
    shift = estimate_shift(logs)
    per_example = [
        statistics.median(taken) / cell.batch_size for taken, cell in zip(seconds, (base, changed), strict=True)
    ]
    return Trial(
        kind=kind,
        option=option,
        cell=changed,
        base_seconds=per_example[0],
        tried_seconds=per_example[1],
        ratio=math.exp(shift.point),
        low=None if shift.low is None else math.exp(shift.low),
        high=None if shift.high is None else math.exp(shift.high),
        pairs=len(logs) * 2,
    )


def _alternate(
    sides: list[Step], cells: tuple[Cell, Cell], quads: int
) -> tuple[tuple[list[float], list[float]], list[float]]:
    """Time both sides in turn; return their steps, and the log-ratio per example of each ABBA or BAAB."""
    clocks = [clock_for(cell.device) for cell in cells]
    counts = []
    for step, cell, clock in zip(sides, cells, clocks, strict=True):
        with cell_settings(cell):
            warm = warm_up(step, clock, cell.device)
        counts.append(max(1, round(BLOCK_SECONDS / max(min(warm), 1e-6))))
    seconds: tuple[list[float], list[float]] = ([], [])
    logs = []
    for quad in range(quads):
        visits: tuple[list[float], list[float]] = ([], [])
        for side in (0, 1, 1, 0) if quad % 2 == 0 else (1, 0, 0, 1):
            taken = _visit(sides[side], cells[side], clocks[side], counts[side])
            seconds[side].extend(taken)
            visits[side].append(math.log(statistics.median(taken) / cells[side].batch_size))
        logs.append(statistics.fmean(visits[1]) - statistics.fmean(visits[0]))
    return seconds, logs


def _visit(step: Step, cell: Cell, clock: Clock, count: int) -> list[float]:
    with cell_settings(cell):  # both sides are prepared, so the switches of one would stand for the other
        return time_visit(step, clock, count)
