"""The columns of `phases` and `layers`, and the second opinions of counters: the text of `bench count`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.core.estimate import Estimate
from bench.core.record import FlopCount, LayerCount, Opinion, Record, Sample
from bench.core.units import counted, known_sum
from bench.stats.estimate import estimate_median, quantile, relative_dispersion
from bench.stats.summary import place
from bench.tables.advice import advice_sentences
from bench.tables.cell_values import cell_rows, key_columns, outcome_styles, outcome_text
from bench.tables.cells import CELLS
from bench.tables.columns import (
    INTERVAL,
    MISSING,
    SHORT_AXES,
    Shown,
    axes,
    flag,
    integer,
    real,
    shape_text,
    shown_columns,
    text,
    whole,
)
from bench.tables.document import Document, Doubts, Heading, Notes, Rows, Text
from bench.tables.figures import percent, plain, ratio_text
from bench.tables.table import Column


def layer_columns(record: Record) -> list[Column]:
    """Make the layers table of one cell; the last row is the sum."""
    layers = _without_empty_containers(record.counters.layers)
    rows = [LayerRow(record, layer) for layer in layers]
    return shown_columns(LAYERS, [*rows, LayerRow(record, _total(layers), is_sum=True)])


def layers_document(record: Record) -> Document:
    """Make one row per layer, and their sum: parameters, output shape, FLOPs and their share, bytes, intensity."""
    if not record.counters.layers:
        return [Text(text=f"{plain(record.cell.id)}: no layers were counted")]
    return [Rows(columns=layer_columns(record), total=True)]


def counts_document(records: Sequence[Record]) -> Document:
    """Make the answer of `bench count`, a row per cell: parameters, FLOPs, other counters, what is missing."""
    if not records:
        return [Text(text="no cells")]
    spans = {
        row: text
        for row, record in enumerate(records)
        if (text := outcome_text(record)) and record.counters.parameters is None
    }
    rows = cell_rows(tuple(records))
    columns = [*key_columns(records, ("model", "batch_size")), *shown_columns(CELLS, rows, "count")]
    return [
        Rows(columns=columns, spans=spans, styles=outcome_styles(records)),
        Notes(lines=_uncounted_notes(records)),
        Doubts(sentences=advice_sentences(records)),
    ]


def opinions_document(record: Record) -> Document:
    """Show the exact count of each counter for one cell, then why they differ from ours."""
    flops, opinions = record.counters.flops, record.counters.opinions
    if flops is None:
        return [Text(text=f"{plain(record.cell.id)}: no FLOPs were counted")]
    return [
        Heading(text=f"{plain(record.cell.id)}, FLOPs (1 MAC = 2)", level=3),
        Rows(columns=_opinion_columns(flops, opinions), close=True),
        Notes(lines=_opinion_notes(flops, opinions)),
    ]


def _total(layers: Sequence[LayerCount]) -> LayerCount:
    """Add layers up; columns without a sum are empty."""
    sums: dict[str, Any] = {
        name: known_sum(getattr(layer, name) for layer in layers)
        for name in ("flops_forward", "flops_backward", "activation_bytes", "bytes_touched")
    }
    parameters = sum(layer.parameters for layer in layers)
    return LayerCount(name="sum", type="", calls=0, parameters=parameters, output_shape=(), **sums)


def _bound(row: LayerRow) -> str:
    """Name the roof that the layer's forward pass meets first, if this device's peaks were measured."""
    placed = place(row.layer.flops_forward, row.layer.bytes_touched, None, row.record.peak)
    return "" if row.is_sum else placed.bound.value if placed else MISSING


def _flops(row: LayerRow) -> int:
    return (row.layer.flops_forward or 0) + (row.layer.flops_backward or 0)


def _flops_share(row: LayerRow) -> str:
    total = sum((x.flops_forward or 0) + (x.flops_backward or 0) for x in row.record.counters.layers)
    return "" if not total else "100" if row.is_sum else percent(_flops(row) / total) if _flops(row) else MISSING


def _intensity(row: LayerRow) -> float | None:
    """Divide forward FLOPs by the bytes they touch, read and written, caches ignored."""
    flops, touched = row.layer.flops_forward, row.layer.bytes_touched
    return flops / touched if flops and touched else None


def _least(row: LayerRow) -> str:
    flops = row.record.counters.flops
    return "≥" if row.is_sum and flops and flops.is_lower_bound else ""


def _without_empty_containers(layers: Sequence[LayerCount]) -> list[LayerCount]:
    """Leave out modules that only hold others; a module without children stays even with nothing to count."""
    parents = {layer.name.rpartition(".")[0] for layer in layers if layer.name}
    return [x for x in layers if x.name not in parents or x.parameters or x.buffers or x.flops_forward]


def _uncounted_notes(records: Sequence[Record]) -> list[str]:
    """Name the operations without a formula, once per model: its FLOPs are at least those shown."""
    notes: dict[str, str] = {}
    for record in records:
        model = plain(record.cell.model)
        if record.counters.flops and record.counters.flops.uncounted:
            notes.setdefault(model, f"{model}: {_uncounted_text(record.counters.flops)}")
    return list(notes.values())


def _uncounted_text(flops: FlopCount) -> str:
    """Write `at least 1,024 FLOPs forward; 2 operations uncounted: mylib.fancy (2)`; calls in brackets."""
    calls = sum(count for _, count in flops.uncounted)
    names = ", ".join(f"{plain(name)} ({count})" for name, count in flops.uncounted)
    backward = "" if flops.backward is None else f" and {flops.backward:,} backward"
    least = "FLOPs unmeasured" if flops.forward is None else f"at least {flops.forward:,} FLOPs forward{backward}"
    return f"{least}; {counted(calls, 'operation')} uncounted: {names}"


def _counter(opinion: Opinion) -> str:
    return plain(opinion.counter).replace("closed-form", "closed form")


def _opinion_columns(flops: FlopCount, opinions: Sequence[Opinion]) -> list[Column]:
    """Show exact figures, and each as a multiple of ours."""
    names = ("stepbench", *map(_counter, opinions))
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
    """Write a count as a multiple of ours; `=` if it is the same, and never 1.00 if it is not."""
    if value is None or ours is None or (not ours and value):
        return ""
    return "=" if value == ours else ratio_text(value / ours)


def _opinion_notes(flops: FlopCount, opinions: Sequence[Opinion]) -> list[str]:
    """Describe how ours was counted, and why each other counter differs."""
    notes = [f"stepbench: {plain(flops.method)}"] if flops.method else []
    if flops.uncounted:
        notes.append(f"stepbench: {_uncounted_text(flops)}")
    pairs = (
        ("forward", flops.forward, flops.executed_forward),
        ("backward", flops.backward, flops.executed_backward),
    )
    notes += [
        f"stepbench: the kernels execute {executed:,} {phase}, because some of it is computed again"
        for phase, model, executed in pairs
        if model is not None and executed is not None and executed > model
    ]
    for opinion in opinions:
        if opinion.note:
            notes.append(f"{_counter(opinion)}: {plain(opinion.note)}")
        elif opinion.forward_flops != flops.forward:
            notes.append(f"{_counter(opinion)}: differs, and no cause was found")
    return notes


@dataclass(frozen=True, slots=True)
class PhaseRow:
    """The source of one row of `phases`: the sample of one phase in one process, on one rank."""

    record: Record
    sample: Sample
    estimate: Estimate


@dataclass(frozen=True, slots=True)
class LayerRow:
    """The source of one row of `layers`."""

    record: Record
    layer: LayerCount
    is_sum: bool = False


def phase_rows(records: tuple[Record, ...]) -> list[PhaseRow]:
    """Make one row per cell, phase, process and rank in which steps were timed."""
    timed = ((record, sample) for record in records for sample in record.samples if sample.seconds)
    return [PhaseRow(record, sample, estimate_median(sample.seconds)) for record, sample in timed]


def layer_rows(records: tuple[Record, ...]) -> list[LayerRow]:
    """Make one row per cell and layer."""
    return [LayerRow(record, layer) for record in records for layer in record.counters.layers]


PHASES = (
    *axes(SHORT_AXES),
    text(
        "phase",
        "`forward`, `loss`, `backward`, `optimizer`, or a name of the model's own; `step` is the unsplit step",
        "sample.phase",
    ),
    integer("process", "", "index of the fresh process, from 0", "sample.process"),
    integer("rank", "", "number among several processes that train together, from 0", "sample.rank"),
    text("clock", "`host` (perf_counter) or `device` (events)", "sample.clock"),
    real("median_seconds", "s", "median", "estimate.point"),
    real("low_seconds", "s", f"lower end {INTERVAL}", "estimate.low"),
    real("high_seconds", "s", f"upper end {INTERVAL}", "estimate.high"),
    real("p10_seconds", "s", "10 % of the values were smaller", lambda r: quantile(r.sample.seconds, 0.1)),
    real("p90_seconds", "s", "10 % of the values were larger", lambda r: quantile(r.sample.seconds, 0.9)),
    real("min_seconds", "s", "smallest value", lambda r: min(r.sample.seconds)),
    real("max_seconds", "s", "largest value", lambda r: max(r.sample.seconds)),
    integer("n", "steps", "steps that were timed", "estimate.n"),
    real("n_effective", "values", "independent values that they are worth", "estimate.n_effective"),
    real("relative_dispersion", "fraction", "IQR / median", lambda r: relative_dispersion(r.sample.seconds)),
    real(
        "host_median_seconds",
        "s",
        "for the device clock: median time that the host took to launch it",
        lambda r: estimate_median(r.sample.host_seconds).point if r.sample.host_seconds else None,
    ),
    integer("warmup_steps", "steps", "steps executed before, not counted", lambda r: len(r.sample.warmup_seconds)),
    real(
        "warmup_seconds",
        "s",
        "time of the warm-up steps together",
        lambda r: sum(r.sample.warmup_seconds) if r.sample.warmup_seconds else None,
    ),
    integer(
        "discarded_steps",
        "steps",
        "steps that were dropped, for the reasons in the record",
        lambda r: sum(count for _, count in r.sample.discarded),
    ),
    flag("converged", "whether the interval reached its target", "sample.converged"),
)

LAYERS = (
    *axes(SHORT_AXES),
    text(
        "layer",
        "dotted path in the model; empty is the model itself",
        "layer.name",
        Shown(name="layer", place=1, get=lambda r: plain(r.layer.name) or "(the model itself)", right=False, key=True),
    ),
    text("type", "class of the module", "layer.type", Shown(name="type", place=2, rank=5, right=False, always=True)),
    integer(
        "calls",
        "calls",
        "how often one step calls it",
        "layer.calls",
        Shown(
            name="calls",
            place=3,
            rank=5,
            write=lambda n: str(n) if n else "",
            when=lambda rows: any(r.layer.calls != 1 for r in rows if not r.is_sum),
        ),
    ),
    integer(
        "parameters",
        "elements",
        "parameters of this module without its children; shared ones at the first layer only",
        "layer.parameters",
        Shown(name="parameters", place=5, write=whole),
    ),
    integer("trainable_parameters", "elements", "those of them that require a gradient", "layer.trainable_parameters"),
    integer("buffers", "elements", "elements of its own buffers", "layer.buffers"),
    text(
        "output_shape",
        "shape of its first output tensor, batch first",
        lambda r: shape_text(r.layer.output_shape),
        Shown(name="output", place=4, rank=2, right=False, always=True),
    ),
    text("weight_shape", "shape of its parameter `weight`", lambda r: shape_text(r.layer.weight_shape)),
    integer(
        "flops_forward",
        "FLOPs",
        "forward pass of this module without its children",
        "layer.flops_forward",
        Shown(name="fwd", unit="FLOPs", place=6, rank=1, scale="count", mark=_least, together="flops"),
    ),
    integer(
        "flops_backward",
        "FLOPs",
        "backward pass of this module without its children",
        "layer.flops_backward",
        Shown(name="bwd", unit="FLOPs", place=7, rank=1, scale="count", mark=_least, together="flops"),
    ),
    integer(
        "activation_bytes",
        "bytes",
        "bytes of the output tensors of all its calls",
        "layer.activation_bytes",
        Shown(name="activ.", place=9, rank=3, scale="bytes"),
    ),
    integer(
        "bytes_touched",
        "bytes",
        "bytes that its forward pass reads and writes",
        "layer.bytes_touched",
        Shown(name="touched fwd", place=10, rank=6, scale="bytes"),
    ),
    text(
        "flops_share",
        "share of the step's FLOPs",
        _flops_share,
        Shown(name="FLOPs", unit="%", place=8, rank=2, write=str),
        stored=False,
    ),
    real(
        "flops_per_byte",
        "FLOPs/byte",
        "arithmetic intensity of its forward",
        _intensity,
        Shown(name="FLOPs", unit="/byte", place=11, rank=4),
        stored=False,
    ),
    text(
        "bound_by",
        "roof of this device that it meets first",
        _bound,
        Shown(
            name="bound by",
            place=12,
            rank=4,
            right=False,
            when=lambda rows: any(_bound(r) not in ("", MISSING) for r in rows),
        ),
        stored=False,
    ),
)
