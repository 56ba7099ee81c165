"""Records to columns of text: the figures of each table, shared by the terminal and Markdown.

A column whose rows are all unmeasured is left out; `-` is a value that was not measured.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields

from bench.core.cell import Cell
from bench.core.record import Outcome, Phase, Record
from bench.core.units import format_bytes, format_count, format_seconds
from bench.report.advice import marks
from bench.report.figures import byte_unit, count_unit, percent, plain, significant, time_unit, with_noise
from bench.report.layout import Column
from bench.stats.summary import Summary

MISSING = "-"
_ALWAYS_KEYS = ("model", "batch_size", "precision")
_KEY_ORDER = ("model", "mode", "device", "batch_size", "precision")
_HEADERS = {"batch_size": "batch", "memory_format": "layout", "input_shape": "shape", "world_size": "world"}
_PHASE_HEADERS = {Phase.FORWARD: "fwd", Phase.LOSS: "loss", Phase.BACKWARD: "bwd", Phase.OPTIMIZER: "opt"}


def varying_axes(records: Sequence[Record], always: Sequence[str] = _ALWAYS_KEYS) -> tuple[str, ...]:
    """Return the axes that a table needs to tell its rows apart, and those that always stand."""
    names = [*_KEY_ORDER, *(f.name for f in fields(Cell) if f.name not in _KEY_ORDER)]
    return tuple(name for name in names if name in always or len({getattr(r.cell, name) for r in records}) > 1)


def key_columns(records: Sequence[Record], always: Sequence[str] = _ALWAYS_KEYS) -> list[Column]:
    """Make the columns that name a row."""
    return [
        Column(
            header=_HEADERS.get(name, name),
            cells=tuple(_axis_text(getattr(record.cell, name)) for record in records),
            right=name in {"batch_size", "threads", "world_size", "seed"},
            key=True,
            tight=name == "precision",
        )
        for name in varying_axes(records, always)
    ]


def _axis_text(value: object) -> str:
    if value is None:
        return "own"
    return plain("x".join(map(str, value)) if isinstance(value, tuple) else str(value))


def step_columns(summaries: Sequence[Summary], rank: int = 0) -> list[Column]:
    """Step time and half of its interval, as two columns that align at the ±."""
    points = [s.step.point if s.step else None for s in summaries]
    halves = [
        (s.step.high - s.step.low) / 2 if s.step and s.step.low is not None and s.step.high is not None else None
        for s in summaries
    ]
    return timed_columns("step", points, halves, rank)


def timed_columns(
    header: str, points: Sequence[float | None], halves: Sequence[float | None], rank: int = 0
) -> list[Column]:
    """Durations and half widths in one unit where one fits all, else each with its own."""
    unit = time_unit(point for point in points if point is not None)
    values, noises = [], []
    for point, half in zip(points, halves, strict=True):
        if point is None:
            value, noise = MISSING, ""
        elif unit is None:
            value, noise = format_seconds(point), f"± {percent(half / point)} %" if half is not None and point else ""
        else:
            value, noise = with_noise(point / unit[0], None if half is None else half / unit[0])
            noise = f"± {noise}" if noise else ""
        values.append(value)
        noises.append(noise)
    named = f"{header} {unit[1]}" if unit else header
    columns = [Column(header=named, cells=tuple(values), rank=rank)]
    if any(noises):
        columns.append(Column(header="", cells=tuple(noises), right=False, rank=rank, tight=True))
    return columns


def phase_columns(summaries: Sequence[Summary], rank: int) -> list[Column]:
    """Share of each phase in the unsplit step, in percent."""
    columns: list[Column] = []
    for phase, header in _PHASE_HEADERS.items():
        if any(summary.phase(phase) for summary in summaries):
            shares = (percent(_share(summary, phase)) for summary in summaries)
            columns.append(Column(header=f"{header} %", cells=tuple(shares), rank=rank, tight=bool(columns)))
    return columns


def _share(summary: Summary, phase: Phase) -> float | None:
    estimate = summary.phase(phase)
    return estimate.point / summary.step.point if estimate and summary.step and summary.step.point else None


def whole(value: float) -> str:
    """Write an exact count: `9,547,360`."""
    return f"{value:,.0f}"


def figure_column(
    header: str,
    values: Sequence[float | None],
    rank: int,
    write: Callable[[float], str] = significant,
    prefixes: Sequence[str] = (),
) -> list[Column]:
    """One column of figures; none at all where nothing was measured."""
    if all(value is None for value in values):
        return []
    cells = [MISSING if value is None else write(value) for value in values]
    if prefixes:
        cells = [prefix + cell if cell != MISSING else cell for prefix, cell in zip(prefixes, cells, strict=True)]
    return [Column(header=header, cells=tuple(cells), rank=rank)]


def bytes_column(header: str, values: Sequence[float | None], rank: int, prefixes: Sequence[str] = ()) -> list[Column]:
    """Byte counts in one binary unit where one fits all."""
    unit = byte_unit(value for value in values if value is not None)
    if unit is None:
        return figure_column(header, values, rank, format_bytes, prefixes)
    scale, name = unit
    return figure_column(f"{header} {name}", values, rank, lambda value: significant(value / scale), prefixes)


def counts_column(
    header: str,
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
        return figure_column(" ".join(filter(None, (header, unit_name))), values, rank, format_count, prefixes)
    scale, prefix = unit
    name = " ".join(filter(None, (header, prefix + unit_name)))
    write = (lambda value: significant(value / scale)) if scale > 1 else whole
    return figure_column(name, values, rank, write, prefixes)


def peak_bytes(record: Record) -> tuple[int | None, str]:
    """Choose the peak to show and its mark: measured on the device, else in the process, else predicted (`≈`)."""
    memory, predicted = record.counters.memory, record.counters.predicted_peak
    for value in (memory.peak_allocated_bytes, memory.step_resident_bytes) if memory else ():
        if value is not None:
            return value, ""
    return (predicted.total_bytes, "≈") if predicted else (None, "")


def figure_columns(records: Sequence[Record], summaries: Sequence[Summary]) -> list[Column]:
    """Make every column of figures of the cells table, most important rank first."""
    counters = [record.counters for record in records]
    bounds = ["≥" if c.flops and c.flops.is_lower_bound else "" for c in counters]
    peaks = [peak_bytes(record) for record in records]
    doubts = tuple(marks(record) for record in records)
    return [
        *step_columns(summaries),
        *phase_columns(summaries, 2),
        *figure_column("gap %", [s.residual_fraction for s in summaries], 7, lambda f: f"{f * 100:+.0f}"),
        *figure_column("examples /s", [s.examples_per_second for s in summaries], 1, format_count),
        *figure_column("tokens /s", [s.tokens_per_second for s in summaries], 6, format_count),
        *counts_column("", [s.flops_total for s in summaries], 4, "FLOPs", bounds),
        *counts_column("", [s.flops_per_second for s in summaries], 8, "FLOP/s", bounds),
        *figure_column("MFU %", [s.mfu for s in summaries], 5, lambda f: significant(f * 100, 2)),
        *figure_column("parameters", [c.parameters for c in counters], 5, whole),
        *bytes_column("peak", [value for value, _ in peaks], 3, [mark for _, mark in peaks]),
        *figure_column("J/step", [c.energy_joules for c in counters], 6),
        *figure_column("noise %", [s.dispersion for s in summaries], 9, lambda f: significant(f * 100, 2)),
        *figure_column("steps", [s.step.n if s.step else None for s in summaries], 10, lambda n: f"{n:.0f}"),
        *figure_column("worth", [s.step.n_effective if s.step else None for s in summaries], 10, lambda n: f"{n:.0f}"),
        *([Column(header="see", cells=doubts, right=False, rank=0)] if any(doubts) else []),
    ]


def outcome_text(record: Record) -> str | None:
    """Say why a row has no figures, `OUT OF MEMORY: ...`; None where it has some."""
    if record.outcome is Outcome.OK:
        return None
    name = record.outcome.value.replace("_", " ").upper()
    return f"{name}: {plain(record.reason)}" if record.reason else name
