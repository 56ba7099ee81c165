"""One cell in detail, and exact counts: the columns of the phases, layers and counts tables.

Second opinions on FLOPs: ours beside torch's, fvcore's and the closed form, and the cause of each difference.

The columns of `phases`, `layers` and `claims`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bench.core.claim import CheckedClaim, ClaimValue
from bench.core.estimate import Estimate
from bench.core.record import FlopCount, LayerCount, Opinion, Phase, Record, Sample
from bench.stats.estimate import estimate_median, quantile, relative_dispersion
from bench.stats.roofline import place
from bench.stats.summary import flops_total, summarise
from bench.tables.cells import MISSING, bytes_column, counts_column, figure_column, timed_columns, whole
from bench.tables.figures import percent, plain, significant
from bench.tables.table import INTERVAL, SHORT_AXES, Column, TableColumn, axes, shape_text


def phase_rows_columns(record: Record) -> list[Column]:
    """Make the phases table of one cell: phases, their sum, the unsplit step, the gap."""
    summary = summarise(record)
    rows: list[tuple[str, float | None, Estimate | None, Phase | str | None]] = [
        (str(phase), estimate.point, estimate, phase) for phase, estimate in summary.phases
    ]
    if len(rows) > 1:
        rows.append(("sum of phases", summary.phase_sum_seconds, None, None))
    if summary.step:
        rows.append(("step (unsplit)", summary.step.point, summary.step, Phase.STEP))
    step = summary.step.point if summary.step else None
    points = [point for _, point, _, _ in rows]
    halves = [e.half_width if e else None for _, _, e, _ in rows]
    seconds = [record.sample_seconds(phase) if phase else () for _, _, _, phase in rows]
    return [
        Column(name="phase", cells=tuple(name for name, _, _, _ in rows), right=False, key=True),
        *timed_columns("median", points, halves),
        Column(name="share", unit="%", cells=tuple(percent(p / step if p and step else None) for p in points), rank=1),
        *timed_columns("p10", [quantile(s, 0.1) if s else None for s in seconds], [None] * len(rows), 3),
        *timed_columns("p90", [quantile(s, 0.9) if s else None for s in seconds], [None] * len(rows), 3),
        *figure_column(
            "noise",
            [relative_dispersion(s) if s else None for s in seconds],
            2,
            lambda f: significant(f * 100, 2),
            unit="%",
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
        Column(name="layer", cells=(*names, "sum"), right=False, key=True),
        Column(name="type", cells=(*(plain(layer.type) for layer in layers), ""), right=False, rank=5),
        *([Column(name="calls", cells=(*map(str, calls), ""), rank=5)] if any(count != 1 for count in calls) else []),
        Column(name="output", cells=(*shapes, ""), right=False, rank=2),
        Column(
            name="parameters",
            cells=tuple(f"{n:,}" for n in (*(x.parameters for x in layers), sum(x.parameters for x in layers))),
        ),
        *counts_column("fwd", [*forward, _sum(forward)], 1, "FLOPs", bounds, [*backward, _sum(backward)]),
        *counts_column("bwd", [*backward, _sum(backward)], 1, "FLOPs", bounds, [*forward, _sum(forward)]),
        *(
            [
                Column(
                    name="FLOPs",
                    unit="%",
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
            "FLOPs",
            [intensity(f, b) for f, b in zip([*forward, _sum(forward)], [*touched, _sum(touched)], strict=True)],
            4,
            unit="/byte",
        ),
        *_bound_column(record, forward, touched),
    ]


def _bound_column(record: Record, flops: Sequence[int | None], bytes_touched: Sequence[int | None]) -> list[Column]:
    """Say which roof each layer's forward pass meets first, where this device's peaks were measured."""
    placed = [place(f, b, None, record.peak) for f, b in zip(flops, bytes_touched, strict=False)]
    bounds = [placement.bound.value if placement else MISSING for placement in placed]
    return [Column(name="bound by", cells=(*bounds, ""), right=False, rank=4)] if any(placed) else []


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
        *([Column(name="others say", cells=second, right=False, rank=6)] if any(second) else []),
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
        Column(name="counter", cells=names, right=False, key=True),
        *_columns("forward", forward, bound),
        *(_columns("backward", backward, bound) if any(value is not None for value in backward) else []),
    ]


def _columns(header: str, values: Sequence[int | None], bound: str) -> list[Column]:
    ours, *others = values
    cells = (_figure(ours, bound), *(_figure(value) for value in others))
    return [
        Column(name=header, cells=cells),
        Column(name="x ours", cells=("", *(_share(value, ours) for value in others))),
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


@dataclass(frozen=True, slots=True)
class PhaseRow:
    """What one row of `phases` is read from: the sample of one phase in one process, on one rank."""

    record: Record
    sample: Sample
    estimate: Estimate


@dataclass(frozen=True, slots=True)
class LayerRow:
    """What one row of `layers` is read from."""

    record: Record
    layer: LayerCount


def phase_rows(records: tuple[Record, ...]) -> list[PhaseRow]:
    """Make one row per cell, phase, process and rank in which steps were timed."""
    timed = ((record, sample) for record in records for sample in record.samples if sample.seconds)
    return [PhaseRow(record, sample, estimate_median(sample.seconds)) for record, sample in timed]


def layer_rows(records: tuple[Record, ...]) -> list[LayerRow]:
    """Make one row per cell and layer."""
    return [LayerRow(record, layer) for record in records for layer in record.counters.layers]


def value_text(value: ClaimValue | None) -> str | None:
    """Write a claim's value: `896`, `0.5`, or a shape `Bx32x48x48` in which B is the batch."""
    if isinstance(value, tuple):
        return "x".join("B" if size is None else str(size) for size in value)
    return None if value is None else str(value)


PHASES = (
    *axes(SHORT_AXES),
    TableColumn(
        "phase",
        "string",
        "",
        "`forward`, `loss`, `backward`, `optimizer`; `step` is unsplit; own names too",
        lambda r: r.sample.phase,
    ),
    TableColumn("process", "Int64", "", "index of the fresh process, from 0", lambda r: r.sample.process),
    TableColumn("rank", "Int64", "", "of several processes that train together, from 0", lambda r: r.sample.rank),
    TableColumn("clock", "string", "", "`host` (perf_counter) or `device` (events)", lambda r: r.sample.clock),
    TableColumn("median_seconds", "Float64", "s", "median", lambda r: r.estimate.point),
    TableColumn("low_seconds", "Float64", "s", f"lower end {INTERVAL}", lambda r: r.estimate.low),
    TableColumn("high_seconds", "Float64", "s", f"upper end {INTERVAL}", lambda r: r.estimate.high),
    TableColumn(
        "p10_seconds", "Float64", "s", "10 % of the values were smaller", lambda r: quantile(r.sample.seconds, 0.1)
    ),
    TableColumn(
        "p90_seconds", "Float64", "s", "10 % of the values were larger", lambda r: quantile(r.sample.seconds, 0.9)
    ),
    TableColumn("min_seconds", "Float64", "s", "smallest value", lambda r: min(r.sample.seconds)),
    TableColumn("max_seconds", "Float64", "s", "largest value", lambda r: max(r.sample.seconds)),
    TableColumn("n", "Int64", "steps", "steps that were timed", lambda r: r.estimate.n),
    TableColumn(
        "n_effective", "Float64", "values", "independent values they are worth", lambda r: r.estimate.n_effective
    ),
    TableColumn(
        "relative_dispersion", "Float64", "fraction", "IQR / median", lambda r: relative_dispersion(r.sample.seconds)
    ),
    TableColumn(
        "host_median_seconds",
        "Float64",
        "s",
        "for the device clock: median time the host took to launch it",
        lambda r: estimate_median(r.sample.host_seconds).point if r.sample.host_seconds else None,
    ),
    TableColumn(
        "warmup_steps", "Int64", "steps", "executed before, not counted", lambda r: len(r.sample.warmup_seconds)
    ),
    TableColumn(
        "warmup_seconds",
        "Float64",
        "s",
        "time of the warm-up steps together",
        lambda r: sum(r.sample.warmup_seconds) if r.sample.warmup_seconds else None,
    ),
    TableColumn(
        "discarded_steps",
        "Int64",
        "steps",
        "steps that were dropped, for the reasons in the record",
        lambda r: sum(count for _, count in r.sample.discarded),
    ),
    TableColumn("converged", "boolean", "", "whether the interval reached its target", lambda r: r.sample.converged),
)

LAYERS = (
    *axes(SHORT_AXES),
    TableColumn("layer", "string", "", "dotted path in the model; empty is the model itself", lambda r: r.layer.name),
    TableColumn("type", "string", "", "class of the module", lambda r: r.layer.type),
    TableColumn("calls", "Int64", "calls", "times one step calls it", lambda r: r.layer.calls),
    TableColumn(
        "parameters",
        "Int64",
        "elements",
        "registered by this module itself, without children; shared ones at the first layer only",
        lambda r: r.layer.parameters,
    ),
    TableColumn(
        "trainable_parameters", "Int64", "elements", "those with a gradient", lambda r: r.layer.trainable_parameters
    ),
    TableColumn("buffers", "Int64", "elements", "elements of its own buffers", lambda r: r.layer.buffers),
    TableColumn(
        "output_shape",
        "string",
        "",
        "of its first output tensor, batch first",
        lambda r: shape_text(r.layer.output_shape),
    ),
    TableColumn("weight_shape", "string", "", "of its parameter `weight`", lambda r: shape_text(r.layer.weight_shape)),
    TableColumn(
        "flops_forward", "Int64", "FLOPs", "forward, in this module and no child", lambda r: r.layer.flops_forward
    ),
    TableColumn("flops_backward", "Int64", "FLOPs", "backward, likewise", lambda r: r.layer.flops_backward),
    TableColumn(
        "activation_bytes", "Int64", "bytes", "output tensors of all its calls", lambda r: r.layer.activation_bytes
    ),
    TableColumn("bytes_touched", "Int64", "bytes", "read and written by its forward", lambda r: r.layer.bytes_touched),
)


def _claim(name: str) -> Callable[[CheckedClaim], Any]:
    return lambda checked: getattr(checked.claim, name)


CLAIMS = (
    TableColumn("id", "string", "", "name of the claim in its file", _claim("id")),
    TableColumn("model", "string", "", "model spec of the subject", _claim("model")),
    TableColumn("layer", "string", "", "dotted path of the subject; empty is the whole model", _claim("layer")),
    TableColumn("quantity", "string", "", "what is claimed, with its unit in the name", _claim("quantity")),
    TableColumn(
        "documented",
        "string",
        "of the quantity",
        "value as documented; B in a shape is the batch",
        lambda c: value_text(c.claim.value),
    ),
    TableColumn(
        "measured",
        "string",
        "of the quantity",
        "value of the model; empty is unmeasured",
        lambda c: value_text(c.measured),
    ),
    TableColumn(
        "relation",
        "string",
        "",
        "what measured has to be to documented: `equal`, `below` or `above`",
        _claim("relation"),
    ),
    TableColumn(
        "reference",
        "string",
        "",
        "of a ratio, the model or cell that it is held against; empty where the value is absolute",
        lambda c: c.claim.reference_cell.id if c.claim.reference_cell else c.claim.relative_to,
    ),
    TableColumn(
        "measured_low",
        "Float64",
        "of the quantity",
        "of a ratio of times, lower end of its 95 % interval over sessions; empty for a count",
        lambda c: c.interval.low if c.interval else None,
    ),
    TableColumn(
        "measured_high",
        "Float64",
        "of the quantity",
        "upper end",
        lambda c: c.interval.high if c.interval else None,
    ),
    TableColumn(
        "sessions",
        "Int64",
        "sessions",
        "fresh pairs of processes that a ratio of times comes from; empty for a count",
        lambda c: c.interval.n if c.interval else None,
    ),
    TableColumn(
        "verdict",
        "string",
        "",
        "`match`, `mismatch`, `erratum` (known not to agree, see reason), `unmeasured`, or of a time `inconclusive`",
        lambda c: c.verdict,
    ),
    TableColumn("tolerance", "Float64", "fraction", "relative; 0 is exact", _claim("tolerance")),
    TableColumn("scope", "string", "", "what the number includes", _claim("scope")),
    TableColumn("source", "string", "", "document and place", _claim("source")),
    TableColumn("reason", "string", "", "why it is not a match", lambda c: c.reason or None),
)
