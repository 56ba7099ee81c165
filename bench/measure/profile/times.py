"""Seconds of the host by phase and layer, and by operation: every instant of a step belongs to exactly one row.

Seconds of an accelerator by phase and layer, and by operation; what is left of a step it was idle, and why.

A step lasts on the device from the end of the last kernel of the step before to the end of its own last one, so that
steps follow each other without a gap. An instant at which two streams work belongs to the kernel that began first.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.core.profile import AUTOGRAD, IDLE, PYTHON, UNATTRIBUTED, IdleCause, IdleGap
from bench.core.record import Phase
from bench.measure.profile.attribution import Attribution, Frame
from bench.measure.profile.spans import Kernel, Recording, Wait

LayerKey = tuple[Phase | str, str]


@dataclass(slots=True)
class StepTime:
    """What one profiled step took.

    Attributes:
        nanoseconds: Nanoseconds from mark to mark.
        layers: Nanoseconds by phase and layer; they sum to `nanoseconds`.
        layer_events: Spans that began there.
        operators: Nanoseconds by operation, without those it calls; they sum to `nanoseconds`.
        operator_calls: How often each began.
    """

    nanoseconds: int = 0
    layers: Counter[LayerKey] = field(default_factory=Counter)
    layer_events: Counter[LayerKey] = field(default_factory=Counter)
    operators: Counter[str] = field(default_factory=Counter)
    operator_calls: Counter[str] = field(default_factory=Counter)


def host_times(attribution: Attribution) -> list[StepTime]:
    """Add up the host's time of each step.

    Where backward runs on a thread of its own, as it does for accelerators, the calling thread only waits for it: what
    that thread spends in nodes is taken from the wait.
    """
    steps = [StepTime(nanoseconds=end - start) for start, end in attribution.steps]
    for segment in attribution.segments:
        border = attribution.border_at(segment.start)
        if border is None or border.phase is None:
            continue
        step, length = steps[border.step], segment.end - segment.start
        layer = attribution.layer_of(segment.frame)
        operation = segment.frame.operation if segment.frame else PYTHON
        if segment.thread != attribution.thread:
            if layer == AUTOGRAD:
                continue  # that thread waits too
            step.layers[Phase.BACKWARD, AUTOGRAD] -= length
            step.operators[PYTHON] -= length
        step.layers[border.phase, layer] += length
        step.operators[operation] += length
    for frame in attribution.frames:
        border = attribution.border_at(frame.span.start)
        if border is None or border.phase is None:
            continue
        step = steps[border.step]
        step.layer_events[border.phase, attribution.layer_of(frame)] += 1
        if frame.operation == frame.span.name:
            step.operator_calls[frame.operation] += 1
    return steps


@dataclass(slots=True)
class DeviceStep(StepTime):
    """One step on the device; the row IDLE stands in the phase whose first kernel was waited for.

    Attributes:
        gaps: Nanoseconds of each gap, its cause, and the operation that ended it.
    """

    gaps: list[tuple[int, IdleCause, str, str]] = field(default_factory=list)


def device_times(recording: Recording, attribution: Attribution) -> list[DeviceStep]:
    """Add up the device's time of each step but the first, whose start on the device nobody knows.

    A kernel belongs to the step in which it was launched.
    """
    by_step: defaultdict[int, list[tuple[Kernel, Frame | None, Phase | str]]] = defaultdict(list)
    for kernel in recording.kernels:
        frame = attribution.frame_of(kernel.operation)
        launched = kernel.launched if kernel.launched is not None else frame.span.start if frame else kernel.start
        border = attribution.border_at(launched)
        if border is not None and border.phase is not None:
            by_step[border.step].append((kernel, frame, border.phase))
    steps: list[DeviceStep] = []
    waits = [wait.start for wait in recording.waits]
    cursor = max((kernel.end for kernel, _, _ in by_step[0]), default=0)
    for index in range(1, len(attribution.steps)):
        launched_here = sorted(by_step[index], key=lambda item: item[0].start)
        if not launched_here or not cursor:
            continue
        step = DeviceStep()
        begin = cursor
        for kernel, frame, phase in launched_here:
            layer = attribution.layer_of(frame) if frame else UNATTRIBUTED
            name = frame.operation if frame else kernel.name
            if kernel.start > cursor:
                gap = kernel.start - cursor
                step.layers[phase, IDLE] += gap
                step.operators[IDLE] += gap
                step.gaps.append((gap, _cause(kernel, cursor, recording.waits, waits), name, layer))
                cursor = kernel.start
            length = max(0, kernel.end - cursor)
            cursor = max(cursor, kernel.end)
            step.layers[phase, layer] += length
            step.layer_events[phase, layer] += 1
            step.operators[name] += length
            step.operator_calls[name] += 1
        step.nanoseconds = cursor - begin
        steps.append(step)
    return steps


def _cause(kernel: Kernel, idle_from: int, waits: Sequence[Wait], starts: Sequence[int]) -> IdleCause:
    """Explain why the device was idle before this kernel: it came late, or it had been waiting in the queue."""
    if kernel.launched is None or kernel.launched <= idle_from:
        return IdleCause.QUEUED
    index = bisect_right(starts, kernel.launched) - 1
    # the host sat in a wait that ended only when the device had run dry
    if index >= 0 and waits[index].end >= idle_from:
        return IdleCause.SYNCHRONISATION
    return IdleCause.LAUNCH_BOUND


def idle_gaps(steps: Sequence[DeviceStep]) -> tuple[IdleGap, ...]:
    """Sum the gaps by cause, the most expensive cause first; per step."""
    counts: Counter[IdleCause] = Counter()
    total: Counter[IdleCause] = Counter()
    longest: dict[IdleCause, tuple[int, str, str]] = {}
    for step in steps:
        for length, cause, name, layer in step.gaps:
            counts[cause] += 1
            total[cause] += length
            longest[cause] = max(longest.get(cause, (0, "", "")), (length, name, layer))
    return tuple(
        IdleGap(
            cause=cause,
            gaps=counts[cause] / len(steps),
            seconds=nanoseconds / len(steps) / 1e9,
            longest_seconds=longest[cause][0] / 1e9,
            before=longest[cause][1],
            layer=longest[cause][2],
        )
        for cause, nanoseconds in total.most_common()
    )
