"""One cell in detail, and exact counts: the columns of the phases, layers and counts tables."""

from __future__ import annotations

from collections.abc import Sequence

from bench.core.estimate import Estimate
from bench.core.record import FlopCount, LayerCount, Opinion, Phase, Record
from bench.report.columns import MISSING, bytes_column, counts_column, figure_column, timed_columns, whole
from bench.report.figures import percent, plain, significant
from bench.report.layout import Column
from bench.stats.estimate import quantile, relative_dispersion
from bench.stats.roofline import place
from bench.stats.summary import flops_total, summarise


def phase_rows_columns(record: Record) -> list[Column]:
    """Make the phases table of one cell: phases, their sum, the unsplit step, the gap."""
    summary = summarise(record)
    rows: list[tuple[str, float | None, Estimate | None, Phase | None]] = [
        (phase.value, estimate.point, estimate, phase) for phase, estimate in summary.phases
    ]
    if len(rows) > 1:
        rows.append(("sum of phases", summary.phase_sum_seconds, None, None))
    if summary.step:
        rows.append(("step (unsplit)", summary.step.point, summary.step, Phase.STEP))
    step = summary.step.point if summary.step else None
    points = [point for _, point, _, _ in rows]
    halves = [(e.high - e.low) / 2 if e and e.high is not None and e.low is not None else None for _, _, e, _ in rows]
    seconds = [record.sample_seconds(phase) if phase else () for _, _, _, phase in rows]
    return [
        Column(header="phase", cells=tuple(name for name, _, _, _ in rows), right=False, key=True),
        *timed_columns("median", points, halves),
        Column(header="share %", cells=tuple(percent(p / step if p and step else None) for p in points), rank=1),
        *timed_columns("p10", [quantile(s, 0.1) if s else None for s in seconds], [None] * len(rows), 3),
        *timed_columns("p90", [quantile(s, 0.9) if s else None for s in seconds], [None] * len(rows), 3),
        *figure_column(
            "noise %", [relative_dispersion(s) if s else None for s in seconds], 2, lambda f: significant(f * 100, 2)
        ),
        *figure_column("steps", [len(s) or None for s in seconds], 4, lambda n: f"{n:.0f}"),
        *figure_column("worth", [e.n_effective if e else None for _, _, e, _ in rows], 5, lambda n: f"{n:.0f}"),
    ]


def layer_columns(record: Record) -> list[Column]:
    """Make the layers table of one cell; the last row is the sum."""
    layers = _without_empty_containers(record.counters.layers)
    forward = [layer.flops_forward for layer in layers]
    all_flops = [(layer.flops_forward or 0) + (layer.flops_backward or 0) for layer in layers]
    total_flops = sum(all_flops)
    is_bound = bool(record.counters.flops and record.counters.flops.is_lower_bound)
    names = [plain(layer.name) or "(the model itself)" for layer in layers]
    shapes = [MISSING if layer.output_shape is None else "x".join(map(str, layer.output_shape)) for layer in layers]
    calls = [layer.calls for layer in layers]
    backward = [layer.flops_backward for layer in layers]
    bounds = [*[""] * len(layers), "≥" if is_bound else ""]
    return [
        Column(header="layer", cells=(*names, "sum"), right=False, key=True),
        Column(header="type", cells=(*(plain(layer.type) for layer in layers), ""), right=False, rank=5),
        *([Column(header="calls", cells=(*map(str, calls), ""), rank=5)] if any(count != 1 for count in calls) else []),
        Column(header="output", cells=(*shapes, ""), right=False, rank=2),
        Column(
            header="parameters",
            cells=tuple(f"{n:,}" for n in (*(x.parameters for x in layers), sum(x.parameters for x in layers))),
        ),
        *counts_column("fwd", [*forward, _sum(forward)], 1, "FLOPs", bounds, [*backward, _sum(backward)]),
        *counts_column("bwd", [*backward, _sum(backward)], 1, "FLOPs", bounds, [*forward, _sum(forward)]),
        *(
            [
                Column(
                    header="FLOPs %",
                    cells=(*(percent(f / total_flops) if f else MISSING for f in all_flops), "100"),
                    rank=2,
                )
            ]
            if total_flops
            else []
        ),
        *bytes_column("activ.", [*(x := [y.activation_bytes for y in layers]), _sum(x)], 3),
        *bytes_column("touched fwd", [*(touched := [y.bytes_touched for y in layers]), _sum(touched)], 6),
        *figure_column(
            "FLOPs /byte",
            [intensity(f, b) for f, b in zip([*forward, _sum(forward)], [*touched, _sum(touched)], strict=True)],
            4,
        ),
        *_bound_column(record, forward, touched),
    ]


def _bound_column(record: Record, flops: Sequence[int | None], bytes_touched: Sequence[int | None]) -> list[Column]:
    """Say which roof each layer's forward pass meets first, where this device's peaks were measured."""
    placed = [place(f, b, None, record.peak) for f, b in zip(flops, bytes_touched, strict=False)]
    bounds = [placement.bound.value if placement else MISSING for placement in placed]
    return [Column(header="bound by", cells=(*bounds, ""), right=False, rank=4)] if any(placed) else []


def intensity(flops: int | None, bytes_touched: int | None) -> float | None:
    """Divide forward FLOPs by the bytes they touch, read and written, caches ignored: the arithmetic intensity."""
    return flops / bytes_touched if flops and bytes_touched else None


def _without_empty_containers(layers: Sequence[LayerCount]) -> list[LayerCount]:
    """Leave out modules that only hold others; what has no children stands even with nothing to count."""
    parents = {layer.name.rpartition(".")[0] for layer in layers if layer.name}
    return [x for x in layers if x.name not in parents or x.parameters or x.buffers or x.flops_forward]


def _sum(values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def count_columns(records: Sequence[Record]) -> list[Column]:
    """Make the columns of `bench count`: exact figures, no rounding of parameters."""
    counters = [record.counters for record in records]
    bounds = ["≥" if c.flops and c.flops.is_lower_bound else "" for c in counters]
    forward = [c.flops.forward if c.flops else None for c in counters]
    backward = [c.flops.backward if c.flops else None for c in counters]
    totals = [flops_total(record) for record in records]
    is_frozen = any(c.trainable_parameters not in (None, c.parameters) for c in counters)
    second = tuple(_opinions_text(record) for record in records)
    return [
        *figure_column("parameters", [c.parameters for c in counters], 0, whole),
        *(figure_column("trainable", [c.trainable_parameters for c in counters], 3, whole) if is_frozen else []),
        *figure_column("buffers", [c.buffers or None for c in counters], 5, whole),
        *counts_column("fwd", forward, 0, "FLOPs", bounds, [*backward, *totals]),
        *counts_column("bwd", backward, 0, "FLOPs", bounds, [*forward, *totals]),
        *counts_column("step", totals, 2, "FLOPs", bounds, [*forward, *backward]),
        *([Column(header="others say", cells=second, right=False, rank=6)] if any(second) else []),
        *counts_column("operations", [c.dispatch_count for c in counters], 4),
        *bytes_column("touched", [c.bytes_touched for c in counters], 5),
        *bytes_column("saved", [c.saved_bytes for c in counters], 5),
        *bytes_column("peak", [c.predicted_peak.total_bytes if c.predicted_peak else None for c in counters], 1),
    ]


def _opinions_text(record: Record) -> str:
    ours = record.counters.flops.forward if record.counters.flops else None
    return ", ".join(f"{plain(o.counter)} {_opinion_text(o, ours)}" for o in record.counters.opinions)


def _opinion_text(opinion: Opinion, ours: int | None) -> str:
    """Compare another counter with ours: `agrees`, or its share of our count."""
    if opinion.forward_flops is None:
        return "?"
    if not ours:
        return f"{opinion.forward_flops:,}"
    return "agrees" if opinion.forward_flops == ours else f"{significant(opinion.forward_flops / ours)}x"


def count_notes(records: Sequence[Record]) -> list[str]:
    """Say why counters differ and which operations nobody could count, once per model."""
    notes: dict[tuple[str, str], str] = {}  # by model and counter: other batch sizes differ for the same reason
    for record in records:
        model = plain(record.cell.model)
        for opinion in record.counters.opinions:
            if opinion.note:
                key = model, opinion.counter
                notes.setdefault(key, f"{model}: {plain(opinion.counter)}: {plain(opinion.note)}")
    return [*notes.values(), *uncounted_notes(records)]


def uncounted_notes(records: Sequence[Record]) -> list[str]:
    """Name the operations that nobody could count, once per model: its FLOPs are at least what is shown."""
    notes: dict[str, str] = {}
    for record in records:
        model = plain(record.cell.model)
        if record.counters.flops and record.counters.flops.uncounted:
            notes.setdefault(model, f"{model}: {uncounted_text(record.counters.flops)}")
    return list(notes.values())


def uncounted_text(flops: FlopCount) -> str:
    """Write `at least 1,024 FLOPs forward; 2 operations uncounted: mylib.fancy (2)`; calls in brackets."""
    calls = sum(count for _, count in flops.uncounted)
    names = ", ".join(f"{plain(name)} ({count})" for name, count in flops.uncounted)
    backward = "" if flops.backward is None else f" and {flops.backward:,} backward"
    least = "FLOPs unmeasured" if flops.forward is None else f"at least {flops.forward:,} FLOPs forward{backward}"
    return f"{least}; {calls:,} operation{'' if calls == 1 else 's'} uncounted: {names}"
