"""Raw profiled steps to the rows of a profile: without what the profiler cost, beside FLOPs and bytes.

On the CPU the profiler makes a step longer by about the same time for every event it records. What a plain phase is
shorter than a profiled one is therefore taken from its rows by their events, but no row gives more than half that way:
what is then still missing is taken from all in proportion. The rows sum to the plain phases, and to the plain step.
On an accelerator kernels take as long as ever, and the profiler only adds idle time: there the idle row gives way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from bench.core.profile import (
    AUTOGRAD,
    GRADIENTS,
    IDLE,
    LOSS,
    OPTIMIZER,
    UNATTRIBUTED,
    ZERO_GRAD,
    OperatorCost,
    PhaseCost,
    ProfiledLayer,
)
from bench.core.record import LayerCount, Phase
from bench.measure.profile.times import LayerKey, StepTime
from bench.measure.profile.work import Work

Key = TypeVar("Key")

EVENT_SECONDS_LIMIT = 5e-6
"""An event costs the profiler and our hooks 1 to 3 µs. What a profiled step is longer beyond this is the machine's
noise, and is taken from all rows in proportion."""

KEPT_SHARE = 0.5
"""Not every event costs the same: a row of many short operations would be left with nothing. At most half of what was
seen in a row is taken off by its events, and the rest from all rows in proportion."""

_PHASES = (Phase.FORWARD, Phase.LOSS, Phase.BACKWARD, Phase.OPTIMIZER)
_REST = (LOSS, UNATTRIBUTED, AUTOGRAD, GRADIENTS, OPTIMIZER, ZERO_GRAD, IDLE)


def middle_half(steps: Sequence[StepTime]) -> list[StepTime]:
    """Keep the steps whose length is in the middle half: neither lucky nor disturbed ones; all of fewer than four."""
    ordered = sorted(steps, key=lambda step: step.nanoseconds)
    cut = len(ordered) // 4
    return ordered[cut : len(ordered) - cut]


def mean_counts(steps: Sequence[StepTime], read: Callable[[StepTime], Counter[Key]]) -> dict[Key, float]:
    """Average one of the counters of the steps, per step."""
    total: Counter[Key] = Counter()
    for step in steps:
        total.update(read(step))
    return {key: value / len(steps) for key, value in total.items()}


def without_overhead(
    seconds: Mapping[Key, float], events: Mapping[Key, float], step_seconds: float, idle: Iterable[Key] = ()
) -> dict[Key, float]:
    """Bring rows as profiled to what they are without the profiler: they sum to the plain step, and none is wiped out.

    Args:
        seconds: Seconds as profiled.
        events: Recorded in each row.
        step_seconds: Duration of a plain step.
        idle: Rows of idle time: they alone give way, where there is any.
    """
    excess = sum(seconds.values()) - step_seconds
    gaps = {key for key in idle if key in seconds}
    busy = sum(value for key, value in seconds.items() if key not in gaps)
    if gaps and busy < step_seconds:
        left = (step_seconds - busy) / max(sum(seconds[key] for key in gaps), 1e-12)
        return {key: value * left if key in gaps else value for key, value in seconds.items()}
    count = sum(events.get(key, 0.0) for key in seconds)
    cost = min(excess / count, EVENT_SECONDS_LIMIT) if excess > 0 and count else 0.0
    corrected = {
        key: max(0.0, KEPT_SHARE * value, value - cost * events.get(key, 0.0)) for key, value in seconds.items()
    }
    total = sum(corrected.values())
    return {key: value * step_seconds / total for key, value in corrected.items()} if total else dict(corrected)


def layer_rows(
    steps: Sequence[StepTime],
    host_steps: Sequence[StepTime] | None,
    step_seconds: float,
    phase_seconds: Mapping[Phase | str, float],
    counts: Sequence[LayerCount],
    work: Work | None,
) -> tuple[ProfiledLayer, ...]:
    """Make one row per module in the model's order, then those in parentheses that cost anything.

    `host_steps` are of an accelerator; there `phase_seconds` are empty, because only idle time gives way.
    """
    nanoseconds = mean_counts(steps, lambda step: step.layers)
    profiled = {key: value / 1e9 for key, value in nanoseconds.items()}
    events = mean_counts(steps, lambda step: step.layer_events)
    phases = dict.fromkeys([*_PHASES, *(phase for phase, _ in profiled)])
    seconds = without_overhead(profiled, events, step_seconds, [(phase, IDLE) for phase in phases])
    if phase_seconds:
        seconds = _by_phases(profiled, events, step_seconds, phase_seconds)
    host = mean_counts(host_steps, lambda step: step.layers) if host_steps else {}
    flops = _flops_by_key(counts)
    known = {count.name: count for count in counts}
    bytes_touched = work.layers if work else {}
    keys: set[LayerKey] = {*seconds, *flops, *bytes_touched, *host}
    names = list(dict.fromkeys([*known, *(name for _, name in sorted(keys)), *_REST]))
    names.sort(key=lambda name: name.startswith("("))  # stable: rows in parentheses last
    rows = []
    for name in names:
        costs = tuple(
            PhaseCost(
                phase=phase,
                seconds=seconds.get((phase, name), 0.0),
                profiled_seconds=profiled.get((phase, name), 0.0),
                host_seconds=host.get((phase, name), 0.0) / 1e9 if host_steps else None,
                events=events.get((phase, name), 0.0),
                flops=flops.get((phase, name)),
                bytes_touched=bytes_touched.get((phase, name)),
            )
            for phase in dict.fromkeys([*_PHASES, *(phase for phase, _ in sorted(keys))])
            if (phase, name) in keys
        )
        count = known.get(name)
        if count is None and not costs:
            continue
        rows.append(
            ProfiledLayer(
                name=name,
                type=count.type if count else "",
                calls=count.calls if count and not name.startswith("(") else 0,
                parameters=count.parameters if count else 0,
                activation_bytes=count.activation_bytes if count else None,
                output_shape=count.output_shape if count else None,
                costs=costs,
            )
        )
    return tuple(rows)


def _by_phases(
    profiled: Mapping[LayerKey, float],
    events: Mapping[LayerKey, float],
    step_seconds: float,
    phase_seconds: Mapping[Phase | str, float],
) -> dict[LayerKey, float]:
    """Correct each phase by itself, to the share of the step that it has without the profiler."""
    known = {phase for phase, _ in profiled} & set(phase_seconds)
    total = sum(phase_seconds[phase] for phase in known)
    rows: dict[LayerKey, float] = {}
    for phase in known:
        part = {key: value for key, value in profiled.items() if key[0] == phase}
        rows |= without_overhead(part, events, step_seconds * phase_seconds[phase] / total)
    return rows


def operator_rows(
    steps: Sequence[StepTime], host_steps: Sequence[StepTime] | None, step_seconds: float, work: Work | None
) -> tuple[OperatorCost, ...]:
    """Make one row per operation, most seconds first."""
    profiled = {name: ns / 1e9 for name, ns in mean_counts(steps, lambda step: step.operators).items()}
    calls = mean_counts(steps, lambda step: step.operator_calls)
    seconds = without_overhead(profiled, calls, step_seconds, [IDLE])
    host = mean_counts(host_steps, lambda step: step.operators) if host_steps else {}
    host_calls = mean_counts(host_steps, lambda step: step.operator_calls) if host_steps else calls
    rows = [
        OperatorCost(
            name=name,
            calls=host_calls.get(name, calls.get(name, 0.0)),
            seconds=seconds.get(name, 0.0),
            profiled_seconds=profiled.get(name, 0.0),
            host_seconds=host.get(name, 0.0) / 1e9 if host_steps else None,
            bytes_touched=work.operators.get(name) if work else None,
        )
        for name in {**seconds, **host, **(work.operators if work else {})}
    ]
    return tuple(sorted(rows, key=lambda row: (-row.seconds, -(row.host_seconds or 0.0), row.name)))


def _flops_by_key(counts: Sequence[LayerCount]) -> dict[LayerKey, int]:
    """Split the FLOPs of the counters by phase; those of the loss's forward are of the phase LOSS."""
    found: dict[LayerKey, int] = {}
    for count in counts:
        forward = Phase.LOSS if count.name == LOSS else Phase.FORWARD
        if count.flops_forward:
            found[forward, count.name] = count.flops_forward
        if count.flops_backward:
            found[Phase.BACKWARD, count.name] = count.flops_backward
    return found
