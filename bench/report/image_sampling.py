"""Measured image sampling: a row per case, what a step more costs, and the parts of a training step."""

from __future__ import annotations

from collections.abc import Sequence

from bench.core.image_sampling import PartTimes, Sampled
from bench.core.units import format_seconds
from bench.report.case_keys import estimate_columns, failed_rows, failures, key_columns
from bench.report.columns import bytes_column, counts_column, figure_column, timed_columns
from bench.report.figures import duration, percent, plain, significant
from bench.report.layout import Column, Page, render
from bench.stats.estimate import estimate_median
from bench.stats.image_sampling import lines_over_steps, summarise_sampling


def sampling_report(measured: Sequence[Sampled], width: int = 80, color: bool = False, unicode: bool = True) -> str:
    """Write the answers of `bench sample`.

    Args:
        measured: One per row.
        width: Columns of the terminal.
        color: Whether to use ANSI colours.
        unicode: Whether the stream takes signs beyond ASCII.
    """
    page = Page(width=width, color=color, unicode=unicode)
    spans = failed_rows(measured)
    styles: dict[int, str | None] = dict.fromkeys(spans, "red")
    (_, times, _), *others = sampling_tables(measured)
    parts = [render(times, page, spans=spans, styles=styles)]
    for caption, columns, total in others:
        parts += ["", page.wrap(caption), render(columns, page, total=total)]
    notes = sampling_notes(measured)
    if notes:
        parts += ["", *(page.wrap(note, "    ", "  ") for note in notes)]
    return "\n".join(parts)


def sampling_tables(measured: Sequence[Sampled]) -> list[tuple[str, list[Column], bool]]:
    """Make the tables with their captions, and whether the last row is a sum: times, then parts of training steps."""
    tables = [("Time per image and per denoising step", [*_keys(measured), *_columns(measured)], False)]
    for one in measured:
        if one.training is not None:
            title = f"Training step of {plain(one.case.cell.model)}, batch {one.case.cell.batch_size}, by part"
            tables.append((title, _part_columns(one.training), True))
    return tables


def sampling_notes(measured: Sequence[Sampled]) -> list[str]:
    """Say what a reader should know beside the tables, each thing once."""
    notes = [*failures(measured), *_line_notes(measured), *(note for one in measured for note in _reasons(one))]
    return list(dict.fromkeys(notes))


def _keys(measured: Sequence[Sampled]) -> list[Column]:
    cases = [one.case for one in measured]
    return key_columns(
        [case.cell for case in cases],
        [
            ("steps", [case.steps for case in cases]),
            ("guidance", [case.guidance for case in cases]),
            ("sampler", [case.sampler for case in cases]),
        ],
    )


def _columns(measured: Sequence[Sampled]) -> list[Column]:
    summaries = [summarise_sampling(one) for one in measured]
    counts = [one.counts for one in measured]
    p90 = [s.step_p90_seconds for s in summaries]
    nothing: list[float | None] = [None] * len(p90)
    shapes = ["x".join(map(str, c.image_shape)) if c else "-" for c in counts]
    return [
        *estimate_columns("image", [s.image for s in summaries]),
        *estimate_columns("step", [s.step for s in summaries]),
        *(timed_columns("p90", p90, nothing, 3) if any(value is not None for value in p90) else []),
        *estimate_columns("text", [s.encode for s in summaries], 1),
        *estimate_columns("decode", [s.decode for s in summaries], 1),
        *figure_column("images /s", [s.images_per_second for s in summaries], 2, significant),
        *counts_column("step", [c.flops_per_step if c else None for c in counts], 4, "FLOPs"),
        *counts_column("", [s.flops_per_second for s in summaries], 6, "FLOP/s"),
        *bytes_column("peak", [c.peak_allocated_bytes if c else None for c in counts], 5),
        Column(header="shape", cells=tuple(shapes), right=False, rank=5),
    ]


def _part_columns(training: PartTimes) -> list[Column]:
    """One row per part and the sum of their medians, with their shares."""
    estimates = [estimate_median(seconds) for _, seconds in training.parts]
    total = sum(one.point for one in estimates)
    halves = [(e.high - e.low) / 2 if e.low is not None and e.high is not None else None for e in estimates]
    return [
        Column(header="part", cells=(*(plain(name) for name, _ in training.parts), "sum"), right=False, key=True),
        *timed_columns("median", [*(one.point for one in estimates), total], [*halves, None]),
        Column(header="%", cells=(*(percent(one.point / total) for one in estimates), "100")),
    ]


def _line_notes(measured: Sequence[Sampled]) -> list[str]:
    notes = []
    for case, line in lines_over_steps(measured):
        notes.append(
            f"{plain(case.cell.model)}, batch {case.cell.batch_size}, {case.sampler}, guidance {case.guidance:g}: a "
            f"batch takes {format_seconds(line.intercept)} + ({duration(line.slope, line.half_width)}) x steps"
        )
    return notes


def _reasons(one: Sampled) -> list[str]:
    reason = one.reason or (one.counts.reason if one.counts else None)
    return [f"{plain(one.case.cell.model)}: {plain(reason)}"] if one.times is not None and reason else []
