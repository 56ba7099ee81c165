"""The columns of `phases`, `layers` and `claims`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bench.core.claim import CheckedClaim, ClaimValue
from bench.core.estimate import Estimate
from bench.core.record import LayerCount, Record, Sample
from bench.stats.estimate import estimate_median, quantile, relative_dispersion
from bench.store.column import INTERVAL, SHORT_AXES, Column, axes, shape_text


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
    Column(
        "phase", "string", "", "`forward`, `loss`, `backward`, `optimizer`; `step` is unsplit", lambda r: r.sample.phase
    ),
    Column("process", "Int64", "", "index of the fresh process, from 0", lambda r: r.sample.process),
    Column("rank", "Int64", "", "of several processes that train together, from 0", lambda r: r.sample.rank),
    Column("clock", "string", "", "`host` (perf_counter) or `device` (events)", lambda r: r.sample.clock),
    Column("median_seconds", "Float64", "s", "median", lambda r: r.estimate.point),
    Column("low_seconds", "Float64", "s", f"lower end {INTERVAL}", lambda r: r.estimate.low),
    Column("high_seconds", "Float64", "s", f"upper end {INTERVAL}", lambda r: r.estimate.high),
    Column("p10_seconds", "Float64", "s", "10 % of the values were smaller", lambda r: quantile(r.sample.seconds, 0.1)),
    Column("p90_seconds", "Float64", "s", "10 % of the values were larger", lambda r: quantile(r.sample.seconds, 0.9)),
    Column("min_seconds", "Float64", "s", "smallest value", lambda r: min(r.sample.seconds)),
    Column("max_seconds", "Float64", "s", "largest value", lambda r: max(r.sample.seconds)),
    Column("n", "Int64", "steps", "steps that were timed", lambda r: r.estimate.n),
    Column("n_effective", "Float64", "values", "independent values they are worth", lambda r: r.estimate.n_effective),
    Column(
        "relative_dispersion", "Float64", "fraction", "IQR / median", lambda r: relative_dispersion(r.sample.seconds)
    ),
    Column(
        "host_median_seconds",
        "Float64",
        "s",
        "for the device clock: median time the host took to launch it",
        lambda r: estimate_median(r.sample.host_seconds).point if r.sample.host_seconds else None,
    ),
    Column("warmup_steps", "Int64", "steps", "executed before, not counted", lambda r: len(r.sample.warmup_seconds)),
    Column(
        "warmup_seconds",
        "Float64",
        "s",
        "time of the warm-up steps together",
        lambda r: sum(r.sample.warmup_seconds) if r.sample.warmup_seconds else None,
    ),
    Column(
        "discarded_steps",
        "Int64",
        "steps",
        "steps that were dropped, for the reasons in the record",
        lambda r: sum(count for _, count in r.sample.discarded),
    ),
    Column("converged", "boolean", "", "whether the interval reached its target", lambda r: r.sample.converged),
)

LAYERS = (
    *axes(SHORT_AXES),
    Column("layer", "string", "", "dotted path in the model; empty is the model itself", lambda r: r.layer.name),
    Column("type", "string", "", "class of the module", lambda r: r.layer.type),
    Column("calls", "Int64", "calls", "times one step calls it", lambda r: r.layer.calls),
    Column(
        "parameters",
        "Int64",
        "elements",
        "registered by this module itself, without children; shared ones at the first layer only",
        lambda r: r.layer.parameters,
    ),
    Column(
        "trainable_parameters", "Int64", "elements", "those with a gradient", lambda r: r.layer.trainable_parameters
    ),
    Column("buffers", "Int64", "elements", "elements of its own buffers", lambda r: r.layer.buffers),
    Column(
        "output_shape",
        "string",
        "",
        "of its first output tensor, batch first",
        lambda r: shape_text(r.layer.output_shape),
    ),
    Column("weight_shape", "string", "", "of its parameter `weight`", lambda r: shape_text(r.layer.weight_shape)),
    Column("flops_forward", "Int64", "FLOPs", "forward, in this module and no child", lambda r: r.layer.flops_forward),
    Column("flops_backward", "Int64", "FLOPs", "backward, likewise", lambda r: r.layer.flops_backward),
    Column("activation_bytes", "Int64", "bytes", "output tensors of all its calls", lambda r: r.layer.activation_bytes),
    Column("bytes_touched", "Int64", "bytes", "read and written by its forward", lambda r: r.layer.bytes_touched),
)


def _claim(name: str) -> Callable[[CheckedClaim], Any]:
    return lambda checked: getattr(checked.claim, name)


CLAIMS = (
    Column("id", "string", "", "name of the claim in its file", _claim("id")),
    Column("model", "string", "", "model spec of the subject", _claim("model")),
    Column("layer", "string", "", "dotted path of the subject; empty is the whole model", _claim("layer")),
    Column("quantity", "string", "", "what is claimed, with its unit in the name", _claim("quantity")),
    Column(
        "documented",
        "string",
        "of the quantity",
        "value as documented; B in a shape is the batch",
        lambda c: value_text(c.claim.value),
    ),
    Column(
        "measured",
        "string",
        "of the quantity",
        "value of the model; empty is unmeasured",
        lambda c: value_text(c.measured),
    ),
    Column(
        "relation",
        "string",
        "",
        "what measured has to be to documented: `equal`, `below` or `above`",
        _claim("relation"),
    ),
    Column(
        "reference",
        "string",
        "",
        "of a ratio, the model or cell that it is held against; empty where the value is absolute",
        lambda c: c.claim.reference_cell.id if c.claim.reference_cell else c.claim.relative_to,
    ),
    Column(
        "measured_low",
        "Float64",
        "of the quantity",
        "of a ratio of times, lower end of its 95 % interval over sessions; empty for a count",
        lambda c: c.interval.low if c.interval else None,
    ),
    Column(
        "measured_high",
        "Float64",
        "of the quantity",
        "upper end",
        lambda c: c.interval.high if c.interval else None,
    ),
    Column(
        "sessions",
        "Int64",
        "sessions",
        "fresh pairs of processes that a ratio of times comes from; empty for a count",
        lambda c: c.interval.n if c.interval else None,
    ),
    Column(
        "verdict",
        "string",
        "",
        "`match`, `mismatch`, `erratum` (known not to agree, see reason), `unmeasured`, or of a time `inconclusive`",
        lambda c: c.verdict,
    ),
    Column("tolerance", "Float64", "fraction", "relative; 0 is exact", _claim("tolerance")),
    Column("scope", "string", "", "what the number includes", _claim("scope")),
    Column("source", "string", "", "document and place", _claim("source")),
    Column("reason", "string", "", "why it is not a match", lambda c: c.reason or None),
)
