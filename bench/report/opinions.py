"""Second opinions on FLOPs: ours beside torch's, fvcore's and the closed form, and the cause of each difference."""

from __future__ import annotations

from collections.abc import Sequence

from bench.core.record import FlopCount, Record
from bench.report.columns import MISSING
from bench.report.details import uncounted_text
from bench.report.figures import plain, significant
from bench.report.layout import Column

_NAMES = {"closed-form": "closed form"}


def opinion_columns(record: Record) -> list[Column]:
    """Make the columns of `bench count --explain`: exact figures, and each as a multiple of ours."""
    flops = record.counters.flops
    assert flops is not None
    opinions = record.counters.opinions
    names = ("stepbench", *(_NAMES.get(opinion.counter, plain(opinion.counter)) for opinion in opinions))
    forward = [flops.forward, *(opinion.forward_flops for opinion in opinions)]
    backward = [flops.backward, *(opinion.backward_flops for opinion in opinions)]
    bound = "≥" if flops.is_lower_bound else ""
    return [
        Column(header="counter", cells=names, right=False, key=True),
        *_columns("forward", forward, bound),
        *(_columns("backward", backward, bound) if any(value is not None for value in backward) else []),
    ]


def _columns(header: str, values: Sequence[int | None], bound: str) -> list[Column]:
    ours, *others = values
    cells = (_figure(ours, bound), *(_figure(value) for value in others))
    return [
        Column(header=header, cells=cells),
        Column(header="x ours", cells=("", *(_share(value, ours) for value in others))),
    ]


def _figure(value: int | None, bound: str = "") -> str:
    return MISSING if value is None else f"{bound}{value:,}"


def _share(value: int | None, ours: int | None) -> str:
    """Write a count as a multiple of ours; `=` where it is the same, and never 1.00 where it is not."""
    if value is None or ours is None:
        return ""
    if value == ours:
        return "="
    if not ours:
        return ""
    ratio = value / ours
    return significant(ratio) if abs(ratio - 1) >= 0.005 else f"1{ratio - 1:+.0e}"


def opinion_notes(record: Record) -> list[str]:
    """Say how ours was counted, and of each counter that differs why."""
    flops = record.counters.flops
    assert flops is not None
    notes = [f"stepbench: {plain(flops.method)}"] if flops.method else []
    if flops.uncounted:
        notes.append(f"stepbench: {uncounted_text(flops)}")
    notes += _executed_notes(flops)
    for opinion in record.counters.opinions:
        name = _NAMES.get(opinion.counter, plain(opinion.counter))
        if opinion.note:
            notes.append(f"{name}: {plain(opinion.note)}")
        elif opinion.forward_flops != flops.forward:
            notes.append(f"{name}: differs, and no cause was found")
    return notes


def _executed_notes(flops: FlopCount) -> list[str]:
    """Say what the kernels execute where that is more than the model needs."""
    pairs = (
        ("forward", flops.forward, flops.executed_forward),
        ("backward", flops.backward, flops.executed_backward),
    )
    return [
        f"stepbench: the kernels execute {executed:,} {phase}, because some of it is computed again"
        for phase, model, executed in pairs
        if model is not None and executed is not None and executed > model
    ]
