"""Records and checked claims as text for a terminal: readable in 80 columns, fuller in 200. Prints nothing itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from bench.core.claim import CheckedClaim
from bench.core.record import Outcome, Record
from bench.report.formats import Asked, Format
from bench.stats.summary import Summary, summarise
from bench.store.stored import StoredComparison, StoredRun
from bench.tables.advice import advice_text
from bench.tables.cell_values import key_columns, outcome_text, peak_bytes, varying_axes
from bench.tables.cells import count_columns, figure_columns
from bench.tables.claims import claim_columns, claim_families, claim_notes, claim_styles, claims_summary
from bench.tables.comparison import comparison_report
from bench.tables.figures import plain
from bench.tables.parts import (
    count_notes,
    layer_columns,
    opinion_columns,
    opinion_notes,
    uncounted_notes,
)
from bench.tables.table import Column, Page, fits, render

_ESSENTIAL_RANK = 4
"""Where columns up to this rank (times, throughput, phases, peak, FLOPs) do not fit, models get lines of their own."""


def cells_table(
    records: Sequence[Record], width: int = 80, color: bool = False, unicode: bool = True, *, doubts: bool = True
) -> str:
    """Write one row per cell, a caption above and the doubts in words below.

    Where the page is too narrow for all essential figures, each model gets a line of its own and its cells stand below;
    what still does not fit is left out by rank. No line is wider than `width`, down to about 50.

    Args:
        records: In the order of the rows.
        width: Columns of the terminal.
        color: Whether to use ANSI colours.
        unicode: Whether the stream takes ±, µ, ≥; see `figures.is_unicode`.
        doubts: Put the doubts into words below.
    """
    page = Page(width=width, color=color, unicode=unicode)
    if not records:
        return "no cells"
    summaries = [summarise(record) for record in records]
    columns = [*key_columns(records), *figure_columns(records, summaries)]
    spans = {
        row: text
        for row, record in enumerate(records)
        if (text := outcome_text(record)) and summaries[row].step is None
    }
    columns, groups = _grouped(columns, width, records)
    styles = {row: _style(record) for row, record in enumerate(records) if record.outcome is not Outcome.OK}
    parts = [
        page.paint(page.wrap(caption(records, summaries)), "dim"),
        "",
        render(columns, page, spans=spans, styles=styles, groups=groups),
        "",
        page.wrap(summary_line(records)),
    ]
    # Cells that ended badly, but with figures: the row shows those, so the reason stands here.
    parts += [
        page.paint(page.wrap(f"{plain(record.cell.id)}: {text}", "  "), _style(record))
        for row, record in enumerate(records)
        if row not in spans and (text := outcome_text(record))
    ]
    if doubts and (words := advice_text(records, page)):
        parts += ["", words]
    return "\n".join(parts)


def caption(records: Sequence[Record], summaries: Sequence[Summary]) -> str:
    """Say what all rows have in common, and how to read the figures."""
    keys = varying_axes(records)
    cell = records[0].cell
    common = [] if "mode" in keys else [cell.mode.value]
    common += [] if "device" in keys else [f"on {cell.device}"]
    threads = {record.environment.threads for record in records if record.environment}
    count = next(iter(threads)) if len(threads) == 1 and cell.threads is None else None
    common += [f"{count} thread{'' if count == 1 else 's'}"] if count is not None else []
    parts = [" ".join(common).replace("cpu ", "cpu, ")] if common else []
    if any(summary.step and summary.step.high is not None for summary in summaries):
        parts.append("step = median ± half its 95 % interval")
    if any(summary.phases for summary in summaries):
        parts.append("phases in % of the step")
    sources = {_peak_source(record) for record in records} - {""}
    parts += [f"peak = {'; '.join(sorted(sources))}"] if sources else []
    return " · ".join(parts)


def _peak_source(record: Record) -> str:
    value, mark = peak_bytes(record)
    memory = record.counters.memory
    if value is None:
        return ""
    if mark:
        return "≈ predicted live tensors"
    return "allocated on device" if memory and memory.peak_allocated_bytes is not None else "resident growth of process"


def summary_line(records: Sequence[Record]) -> str:
    """Count the outcomes: `36 cells: 34 ok, 2 skipped`."""
    counts = Counter(record.outcome for record in records)
    found = [f"{counts[outcome]} {outcome.value.replace('_', ' ')}" for outcome in Outcome if counts[outcome]]
    return f"{len(records)} cell{'' if len(records) == 1 else 's'}: {', '.join(found) or 'none'}"


def layers_table(record: Record, width: int = 80, color: bool = False, unicode: bool = True) -> str:
    """Write one row per layer, and their sum: parameters, output shape, FLOPs and their share, bytes, intensity."""
    page = Page(width=width, color=color, unicode=unicode)
    if not record.counters.layers:
        return page.sign(f"{plain(record.cell.id)}: no layers were counted")
    return render(layer_columns(record), page, total=True)


def opinions_table(record: Record, width: int = 80, color: bool = False, unicode: bool = True) -> str:
    """Write what each counter says of one cell, to the last FLOP, then in words why they differ from ours."""
    page = Page(width=width, color=color, unicode=unicode)
    if record.counters.flops is None:
        return page.sign(f"{plain(record.cell.id)}: no FLOPs were counted")
    title = page.paint(page.sign(f"{plain(record.cell.id)}, FLOPs (1 MAC = 2)"), "bold")
    notes = [page.wrap(note, "    ", "  ") for note in opinion_notes(record)]
    return "\n".join([title, render(opinion_columns(record), page), *([""] if notes else []), *notes])


def counts_table(
    records: Sequence[Record], width: int = 80, color: bool = False, unicode: bool = True, *, notes: bool = True
) -> str:
    """Write what `bench count` found per cell: parameters, FLOPs, what other counters say, what is missing.

    Args:
        records: In the order of the rows.
        width: Columns of the terminal.
        color: Whether to use ANSI colours.
        unicode: Whether the stream takes signs beyond ASCII.
        notes: Say below why other counters differ; what nobody could count is always said.
    """
    page = Page(width=width, color=color, unicode=unicode)
    if not records:
        return "no cells"
    spans = {
        row: text
        for row, record in enumerate(records)
        if (text := outcome_text(record)) and record.counters.parameters is None
    }
    styles = {row: _style(record) for row, record in enumerate(records) if record.outcome is not Outcome.OK}
    table = render(
        [*key_columns(records, ("model", "batch_size")), *count_columns(records)], page, spans=spans, styles=styles
    )
    said = [page.wrap(note, "    ", "  ") for note in (count_notes if notes else uncounted_notes)(records)]
    doubts = advice_text(records, page)
    return "\n".join([table, *([""] if said else []), *said, *(["", doubts] if doubts else [])])


def claims_table(checked: Sequence[CheckedClaim], width: int = 80, color: bool = False, unicode: bool = True) -> str:
    """Write one row per documented value beside the measured one, then in words why some are no match."""
    page = Page(width=width, color=color, unicode=unicode)
    if not checked:
        return "no claims"
    columns, groups = claim_columns(checked), {}
    if not fits(columns, width, 0):
        columns, groups = columns[1:], claim_families(checked)
    table = render(columns, page, styles=claim_styles(checked), groups=groups)
    notes = [page.wrap(note, "    ", "  ") for note in claim_notes(checked)]
    return "\n".join([table, *([""] if notes else []), *notes, "", page.wrap(claims_summary(checked))])


def _grouped(columns: list[Column], width: int, records: Sequence[Record]) -> tuple[list[Column], dict[int, str]]:
    """Give each model a line of its own where that saves room and most models have several rows."""
    models = columns[0].cells
    starts = [row for row in range(len(models)) if row == 0 or models[row] != models[row - 1]]
    if fits(columns, width, _ESSENTIAL_RANK) or len(starts) * 2 > len(models):
        return columns, {}
    ends = [*starts[1:], len(models)]
    return columns[1:], {
        start: _heading(models[start], records[start:end]) for start, end in zip(starts, ends, strict=True)
    }


def _heading(model: str, records: Sequence[Record]) -> str:
    """Name a model and, where its cells agree, its parameters."""
    parameters = {r.counters.parameters for r in records if r.counters.parameters is not None}
    return f"{model} · {next(iter(parameters)):,} parameters" if len(parameters) == 1 else model


def _style(record: Record) -> str | None:
    if record.outcome is Outcome.OK:
        return None
    return "yellow" if record.outcome is Outcome.SKIPPED else "red"


def _write(run: StoredRun, asked: Asked) -> str:
    width, color, unicode = asked.page.width, asked.page.color, asked.page.unicode
    parts = [cells_table(run.records, width, color, unicode)]
    parts += [claims_table(run.claims, width, color, unicode)] if run.claims else []
    return "\n\n".join([*parts, f"Results: {run.folder}"]) + "\n"


def _compare(found: StoredComparison, asked: Asked) -> str:
    page = asked.page
    text = comparison_report(found.comparisons, found.heading, width=page.width, color=page.color, unicode=page.unicode)
    return f"{text}\n"


FORMAT = Format(write=_write, compare=_compare, holds_failures=True, holds_claims=True)
