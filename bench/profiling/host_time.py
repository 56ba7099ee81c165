"""Seconds of the host by phase and layer, and by operation: every instant of a step belongs to exactly one row."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from bench.core.profile import AUTOGRAD, PYTHON
from bench.core.record import Phase
from bench.profiling.attribution import Attribution

LayerKey = tuple[Phase, str]


@dataclass(slots=True)
class StepTime:
    """What one profiled step took.

    Attributes:
        nanoseconds: From mark to mark.
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
    for segment in attribution.segments():
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
