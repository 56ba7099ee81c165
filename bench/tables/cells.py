"""The columns of `cells`: one row per cell, whatever its outcome.

Records to columns of text: the figures of each table, shared by the terminal and Markdown.

A column whose rows are all unmeasured is left out; `-` is a value that was not measured.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from bench.core.cell import Cell
from bench.core.estimate import Estimate
from bench.core.record import FlopCount, Memory, Outcome, Phase, Record
from bench.core.units import format_bytes, format_count, format_seconds
from bench.stats.rank_scaling import RankScaling, rank_scaling_of
from bench.stats.summary import Summary, summarise
from bench.tables.advice import marks
from bench.tables.figures import byte_unit, count_unit, percent, plain, significant, time_unit, with_noise
from bench.tables.table import INTERVAL, Column, TableColumn, axes


@dataclass(frozen=True, slots=True)
class CellRow:
    """What one row of `cells` is read from."""

    record: Record
    summary: Summary
    scaling: RankScaling | None = None


def cell_rows(records: tuple[Record, ...]) -> list[CellRow]:
    """Make one row per cell, also of those that were skipped or failed."""
    return [
        CellRow(record, summarise(record), rank_scaling_of(record, records) if record.cell.world_size > 1 else None)
        for record in records
    ]


def _estimate(read: Callable[[Any], Estimate | None], name: str) -> Callable[[Any], Any]:
    return lambda row: None if (estimate := read(row)) is None else getattr(estimate, name)


def _phase_median(phase: Phase) -> Callable[[Any], Any]:
    return _estimate(lambda row: row.summary.phase(phase), "point")


def _counters(name: str) -> Callable[[Any], Any]:
    return lambda row: getattr(row.record.counters, name)


def _flops(read: Callable[[FlopCount], Any]) -> Callable[[Any], Any]:
    return lambda row: None if (flops := row.record.counters.flops) is None else read(flops)


def _memory(read: Callable[[Memory], Any]) -> Callable[[Any], Any]:
    return lambda row: None if (memory := row.record.counters.memory) is None else read(memory)


def _environment(name: str) -> Callable[[Any], Any]:
    return lambda row: None if (environment := row.record.environment) is None else getattr(environment, name)


def _summary(name: str) -> Callable[[Any], Any]:
    return lambda row: getattr(row.summary, name)


def _scaling(name: str) -> Callable[[Any], Any]:
    return lambda row: None if row.scaling is None else getattr(row.scaling, name)


def _ranks(name: str) -> Callable[[Any], Any]:
    return lambda row: None if row.record.ranks is None else getattr(row.record.ranks, name)


def _step(name: str) -> Callable[[Any], Any]:
    return _estimate(lambda row: row.summary.step, name)


def _processes(row: CellRow) -> int | None:
    return len({sample.process for sample in row.record.samples if sample.phase is Phase.STEP}) or None


def _converged(row: CellRow) -> bool | None:
    known = [s.converged for s in row.record.samples if s.phase is Phase.STEP and s.converged is not None]
    return all(known) if known else None


CELLS = (
    *axes(tuple(field.name for field in fields(Cell))),
    TableColumn("outcome", "string", "", "how the cell ended; all but `ok` have a reason", lambda r: r.record.outcome),
    TableColumn("reason", "string", "", "why it did not end `ok`", lambda r: r.record.reason),
    TableColumn(
        "step_median_seconds", "Float64", "s", "latency: median of the whole step, measured unsplit", _step("point")
    ),
    TableColumn("step_low_seconds", "Float64", "s", f"lower end {INTERVAL}", _step("low")),
    TableColumn("step_high_seconds", "Float64", "s", f"upper end {INTERVAL}", _step("high")),
    TableColumn("step_p10_seconds", "Float64", "s", "10 % of the steps were faster", _summary("step_p10_seconds")),
    TableColumn("step_p90_seconds", "Float64", "s", "10 % of the steps were slower", _summary("step_p90_seconds")),
    TableColumn("step_n", "Int64", "steps", "steps that were timed", _step("n")),
    TableColumn(
        "step_n_effective",
        "Float64",
        "values",
        "independent values they are worth after autocorrelation; the processes where there are several",
        _step("n_effective"),
    ),
    TableColumn(
        "step_relative_dispersion", "Float64", "fraction", "noise: IQR / median of the steps", _summary("dispersion")
    ),
    TableColumn("step_processes", "Int64", "processes", "fresh processes the steps come from", _processes),
    TableColumn("step_converged", "boolean", "", "whether the interval reached its target in the budget", _converged),
    TableColumn(
        "examples_per_second",
        "Float64",
        "examples/s",
        "throughput: batch size * world size / step",
        _summary("examples_per_second"),
    ),
    TableColumn(
        "tokens_per_second", "Float64", "tokens/s", "throughput of a language model", _summary("tokens_per_second")
    ),
    TableColumn("forward_median_seconds", "Float64", "s", "median of the forward phase", _phase_median(Phase.FORWARD)),
    TableColumn("loss_median_seconds", "Float64", "s", "median of the loss phase", _phase_median(Phase.LOSS)),
    TableColumn(
        "backward_median_seconds", "Float64", "s", "median of the backward phase", _phase_median(Phase.BACKWARD)
    ),
    TableColumn(
        "optimizer_median_seconds", "Float64", "s", "median of the optimizer phase", _phase_median(Phase.OPTIMIZER)
    ),
    TableColumn("phase_sum_seconds", "Float64", "s", "sum of the phase medians", _summary("phase_sum_seconds")),
    TableColumn(
        "residual_fraction",
        "Float64",
        "fraction",
        "1 - phase sum / step: the share of the step that no phase explains; negative where the marks cost time",
        _summary("residual_fraction"),
    ),
    TableColumn(
        "parameters", "Int64", "elements", "elements of all parameters; tied weights once", _counters("parameters")
    ),
    TableColumn(
        "trainable_parameters", "Int64", "elements", "those that require a gradient", _counters("trainable_parameters")
    ),
    TableColumn("buffers", "Int64", "elements", "elements of all buffers", _counters("buffers")),
    TableColumn(
        "flops_forward", "Int64", "FLOPs", "forward and loss of one step; 1 MAC = 2", _flops(lambda f: f.forward)
    ),
    TableColumn("flops_backward", "Int64", "FLOPs", "backward of one step", _flops(lambda f: f.backward)),
    TableColumn(
        "flops_total",
        "Int64",
        "FLOPs",
        "of the whole step; empty while a part of it is unknown",
        _summary("flops_total"),
    ),
    TableColumn(
        "flops_is_lower_bound",
        "boolean",
        "",
        "whether operations ran for which there is no formula: the true count is higher",
        _flops(lambda f: f.is_lower_bound),
    ),
    TableColumn("flops_method", "string", "", "which counter, on which tensors", _flops(lambda f: f.method or None)),
    TableColumn(
        "flops_per_second", "Float64", "FLOP/s", "FLOPs of the step / step median", _summary("flops_per_second")
    ),
    TableColumn(
        "mfu",
        "Float64",
        "fraction",
        "model FLOPs utilization: FLOP/s of the step / the peak that `bench machine peaks` measured in this precision",
        _summary("mfu"),
    ),
    TableColumn(
        "documented_mfu",
        "Float64",
        "fraction",
        "the same against the data sheet's dense peak",
        _summary("documented_mfu"),
    ),
    TableColumn(
        "flops_per_byte",
        "Float64",
        "FLOPs/byte",
        "arithmetic intensity of the step: FLOPs / bytes that its operations read and write",
        lambda r: None if r.summary.roofline is None else r.summary.roofline.intensity,
    ),
    TableColumn(
        "bound_by",
        "string",
        "",
        "roof of this device that the step meets first: `compute` or `memory`",
        lambda r: None if r.summary.roofline is None else r.summary.roofline.bound.value,
    ),
    TableColumn(
        "dispatch_count", "Int64", "operations", "operations that one step dispatches", _counters("dispatch_count")
    ),
    TableColumn("bytes_touched", "Int64", "bytes", "read and written by these operations", _counters("bytes_touched")),
    TableColumn("saved_bytes", "Int64", "bytes", "tensors that autograd saved for backward", _counters("saved_bytes")),
    TableColumn(
        "kernel_launches", "Int64", "launches", "kernels launched on an accelerator", _counters("kernel_launches")
    ),
    TableColumn(
        "predicted_peak_bytes",
        "Int64",
        "bytes",
        "live tensors at the peak of a step, predicted on fake tensors",
        lambda r: None if (peak := r.record.counters.predicted_peak) is None else peak.total_bytes,
    ),
    TableColumn(
        "peak_allocated_bytes",
        "Int64",
        "bytes",
        "measured peak of live tensors in the accelerator's allocator",
        _memory(lambda m: m.peak_allocated_bytes),
    ),
    TableColumn(
        "peak_reserved_bytes",
        "Int64",
        "bytes",
        "measured peak that this allocator took from the device",
        _memory(lambda m: m.peak_reserved_bytes),
    ),
    TableColumn(
        "device_used_bytes",
        "Int64",
        "bytes",
        "device memory of the process as NVML sees it",
        _memory(lambda m: m.device_used_bytes),
    ),
    TableColumn(
        "peak_resident_bytes",
        "Int64",
        "bytes",
        "measured peak of the whole process (CPU)",
        _memory(lambda m: m.peak_resident_bytes),
    ),
    TableColumn(
        "step_resident_bytes",
        "Int64",
        "bytes",
        "that peak above what the process held before the model was built",
        _memory(lambda m: m.step_resident_bytes),
    ),
    TableColumn("memory_method", "string", "", "how the peaks were read", _memory(lambda m: m.method or None)),
    TableColumn(
        "energy_joules", "Float64", "J", "energy of one step, over a window long enough", _counters("energy_joules")
    ),
    TableColumn(
        "average_watts",
        "Float64",
        "W",
        "average power over that window",
        lambda r: None if (energy := r.record.counters.energy) is None else energy.average_watts,
    ),
    TableColumn("rank_backend", "string", "", "how several ranks communicate: `gloo` or `nccl`", _ranks("backend")),
    TableColumn("rank_threads", "Int64", "threads", "threads of each of several ranks", _ranks("threads")),
    TableColumn(
        "slowest_rank", "Int64", "", "the rank whose forward pass takes longest: others wait", _scaling("slowest_rank")
    ),
    TableColumn(
        "rank_spread_fraction",
        "Float64",
        "fraction",
        "(longest - shortest) / longest of the ranks' median forward passes",
        _scaling("rank_spread_fraction"),
    ),
    TableColumn(
        "scaling_efficiency",
        "Float64",
        "fraction",
        "step of one process / step of all ranks; 1 is perfect weak scaling",
        _scaling("efficiency"),
    ),
    TableColumn(
        "communication_seconds",
        "Float64",
        "s",
        "what communicating phases take longer than with one process: communication and waiting",
        _scaling("communication_seconds"),
    ),
    TableColumn(
        "communication_fraction",
        "Float64",
        "fraction",
        "the same as a share of the step; an upper bound, below 0 within its noise",
        _scaling("communication_fraction"),
    ),
    TableColumn("communication_reason", "string", "", "why there is no such share", _scaling("reason")),
    TableColumn(
        "final_loss", "Float64", "", "loss of the last step; a check, not a result", lambda r: r.record.final_loss
    ),
    TableColumn(
        "advice",
        "string",
        "",
        "kinds of doubts and hints, joined by `;`",
        lambda r: ";".join(dict.fromkeys(advice.kind.value for advice in r.record.advice)) or None,
    ),
    TableColumn(
        "fingerprint",
        "string",
        "",
        "hash of hardware, software and settings: only rows with equal ones may be compared",
        _environment("fingerprint"),
    ),
    TableColumn("cpu", "string", "", "processor", _environment("cpu")),
    TableColumn("gpu", "string", "", "accelerator", _environment("gpu")),
    TableColumn("torch", "string", "", "version of torch", _environment("torch")),
    TableColumn("stepbench", "string", "", "version that measured", lambda r: r.record.stepbench),
    TableColumn("started_at", "string", "", "start of the cell, ISO 8601", lambda r: r.record.started_at),
    TableColumn(
        "duration_seconds", "Float64", "s", "whole cell, from start to result", lambda r: r.record.duration_seconds
    ),
)

MISSING = "-"
_ALWAYS_KEYS = ("model", "batch_size", "precision")
_KEY_ORDER = ("model", "mode", "device", "batch_size", "precision")
_HEADERS = {
    "batch_size": "batch",
    "memory_format": "layout",
    "input_shape": "shape",
    "world_size": "world",
    "clip_norm": "clip",
}
_PHASE_HEADERS = {Phase.FORWARD: "fwd", Phase.LOSS: "loss", Phase.BACKWARD: "bwd", Phase.OPTIMIZER: "opt"}


def varying_axes(records: Sequence[Record], always: Sequence[str] = _ALWAYS_KEYS) -> tuple[str, ...]:
    """Return the axes that a table needs to tell its rows apart, and those that always stand."""
    names = [*_KEY_ORDER, *(f.name for f in fields(Cell) if f.name not in _KEY_ORDER)]
    return tuple(name for name in names if name in always or len({getattr(r.cell, name) for r in records}) > 1)


def key_columns(records: Sequence[Record], always: Sequence[str] = _ALWAYS_KEYS) -> list[Column]:
    """Make the columns that name a row."""
    return [
        Column(
            name=_HEADERS.get(name, name),
            cells=tuple(_axis_text(name, getattr(record.cell, name)) for record in records),
            right=name in {"batch_size", "threads", "world_size", "seed", "accumulate", "clip_norm"},
            key=True,
            tight=name == "precision",
        )
        for name in varying_axes(records, always)
    ]


def _axis_text(name: str, value: object) -> str:
    if value is None:
        return "none" if name == "clip_norm" else "own"
    return plain("x".join(map(str, value)) if isinstance(value, tuple) else str(value))


def step_columns(summaries: Sequence[Summary], rank: int = 0) -> list[Column]:
    """Step time, with half of its interval as its noise."""
    points = [s.step.point if s.step else None for s in summaries]
    halves = [s.step.half_width if s.step else None for s in summaries]
    return timed_columns("step", points, halves, rank)


def timed_columns(
    name: str, points: Sequence[float | None], halves: Sequence[float | None], rank: int = 0
) -> list[Column]:
    """Durations with their noise in one unit where one fits all, else each with its own."""
    unit = time_unit(point for point in points if point is not None)
    values, noises = [], []
    for point, half in zip(points, halves, strict=True):
        if point is None:
            value, noise = MISSING, ""
        elif unit is None:
            value, noise = format_seconds(point), f"{percent(half / point)} %" if half is not None and point else ""
        else:
            value, noise = with_noise(point / unit[0], None if half is None else half / unit[0])
        values.append(value)
        noises.append(noise)
    return [Column(name=name, unit=unit[1] if unit else "", cells=tuple(values), noise=noise_texts(noises), rank=rank)]


def noise_texts(noises: Sequence[str]) -> tuple[str, ...]:
    """Write `± ` before what is noise; nothing at all where no row has any."""
    return tuple(f"± {noise}" if noise else "" for noise in noises) if any(noises) else ()


def phase_columns(summaries: Sequence[Summary], rank: int) -> list[Column]:
    """Share of each phase in the unsplit step, in percent."""
    columns: list[Column] = []
    for phase, header in _PHASE_HEADERS.items():
        if any(summary.phase(phase) for summary in summaries):
            shares = (percent(_share(summary, phase)) for summary in summaries)
            columns.append(Column(name=header, unit="%", cells=tuple(shares), rank=rank, tight=bool(columns)))
    own = [_own_phases(summary) for summary in summaries]
    if any(own):
        cells = tuple(text or MISSING for text in own)
        columns.append(Column(name="own phases", unit="%", cells=cells, right=False, rank=rank))
    return columns


def _own_phases(summary: Summary) -> str:
    """Name the phases that a step of one's own marked, each with its share of the unsplit step."""
    own = (phase for phase, _ in summary.phases if phase not in _PHASE_HEADERS)
    return ", ".join(f"{plain(phase)} {percent(_share(summary, phase))}" for phase in own)


def _share(summary: Summary, phase: Phase | str) -> float | None:
    estimate = summary.phase(phase)
    return estimate.point / summary.step.point if estimate and summary.step and summary.step.point else None


def whole(value: float) -> str:
    """Write an exact count: `9,547,360`."""
    return f"{value:,.0f}"


def figure_column(
    name: str,
    values: Sequence[float | None],
    rank: int,
    write: Callable[[float], str] = significant,
    prefixes: Sequence[str] = (),
    *,
    unit: str = "",
) -> list[Column]:
    """One column of figures; none at all where nothing was measured."""
    if all(value is None for value in values):
        return []
    cells = [MISSING if value is None else write(value) for value in values]
    if prefixes:
        cells = [prefix + cell if cell != MISSING else cell for prefix, cell in zip(prefixes, cells, strict=True)]
    return [Column(name=name, unit=unit, cells=tuple(cells), rank=rank)]


def bytes_column(name: str, values: Sequence[float | None], rank: int, prefixes: Sequence[str] = ()) -> list[Column]:
    """Byte counts in one binary unit where one fits all."""
    unit = byte_unit(value for value in values if value is not None)
    if unit is None:
        return figure_column(name, values, rank, format_bytes, prefixes)
    return figure_column(name, values, rank, lambda value: significant(value / unit[0]), prefixes, unit=unit[1])


def counts_column(
    name: str,
    values: Sequence[float | None],
    rank: int,
    unit_name: str = "",
    prefixes: Sequence[str] = (),
    beside: Sequence[float | None] = (),
) -> list[Column]:
    """Counts with one decimal prefix where one fits all: the header says `GFLOPs`.

    `beside` are the values of columns next to it, with which it shares its prefix.
    """
    unit = count_unit(value for value in (*values, *beside) if value is not None)
    if unit is None:
        return figure_column(name, values, rank, format_count, prefixes, unit=unit_name)
    scale, prefix = unit
    write = (lambda value: significant(value / scale)) if scale > 1 else whole
    return figure_column(name, values, rank, write, prefixes, unit=prefix + unit_name)


def peak_bytes(record: Record) -> tuple[int | None, str]:
    """Return the peak to show and its mark: `≈` if it is only predicted."""
    name, value = record.counters.shown_peak or ("", None)
    return value, "≈" if name == "predicted_peak_bytes" else ""


def _hidden(*groups: Sequence[Column], views: frozenset[str] = frozenset({"html", "latex"})) -> list[Column]:
    """Leave columns out of views that have room for the main figures only."""
    return [replace(column, hidden_in=views) for group in groups for column in group]


def figure_columns(records: Sequence[Record], summaries: Sequence[Summary]) -> list[Column]:
    """Make every column of figures of the cells table, most important rank first."""
    counters = [record.counters for record in records]
    bounds = ["≥" if c.flops and c.flops.is_lower_bound else "" for c in counters]
    peaks = [peak_bytes(record) for record in records]
    doubts = tuple(marks(record) for record in records)
    return [
        *step_columns(summaries),
        *_hidden(phase_columns(summaries, 2), views=frozenset({"html"})),  # phases have a section of their own there
        *_hidden(
            figure_column("gap", [s.residual_fraction for s in summaries], 7, lambda f: f"{f * 100:+.0f}", unit="%")
        ),
        *figure_column("examples", [s.examples_per_second for s in summaries], 1, format_count, unit="/s"),
        *_hidden(figure_column("tokens", [s.tokens_per_second for s in summaries], 6, format_count, unit="/s")),
        *counts_column("", [s.flops_total for s in summaries], 4, "FLOPs", bounds),
        *_hidden(counts_column("", [s.flops_per_second for s in summaries], 8, "FLOP/s", bounds)),
        *_hidden(figure_column("MFU", [s.mfu for s in summaries], 5, lambda f: significant(f * 100, 2), unit="%")),
        *_hidden(figure_column("parameters", [c.parameters for c in counters], 5, whole), views=frozenset({"html"})),
        *bytes_column("peak", [value for value, _ in peaks], 3, [mark for _, mark in peaks]),
        *_hidden(
            figure_column("J/step", [c.energy_joules for c in counters], 6),
            figure_column("noise", [s.dispersion for s in summaries], 9, lambda f: significant(f * 100, 2), unit="%"),
            figure_column("steps", [s.step.n if s.step else None for s in summaries], 10, lambda n: f"{n:.0f}"),
            figure_column(
                "worth", [s.step.n_effective if s.step else None for s in summaries], 10, lambda n: f"{n:.0f}"
            ),
        ),
        *([Column(name="see", cells=doubts, right=False, rank=0)] if any(doubts) else []),
    ]


def outcome_text(record: Record) -> str | None:
    """Say why a row has no figures, `OUT OF MEMORY: ...`; None where it has some."""
    if record.outcome is Outcome.OK:
        return None
    name = record.outcome.value.replace("_", " ").upper()
    return f"{name}: {plain(record.reason)}" if record.reason else name
