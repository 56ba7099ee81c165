"""A whole run as text: its cells in a table, everything on one page for `tables/summary.md`, and its findings.

Findings are sentences: which precision is faster, the share of the optimizer, whether a larger batch pays. They use
only cells fit to be compared: measured with an interval, on a machine that was not busy. Two steps differ if their
intervals do not overlap and they are further apart than two processes of the same code.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from bench.core.advice import UNFIT_TO_COMPARE
from bench.core.cell import Cell, Mode, Precision
from bench.core.claim import CheckedClaim
from bench.core.environment import Environment
from bench.core.estimate import Estimate
from bench.core.record import Outcome, Phase, Record
from bench.core.units import counted, format_bytes, format_count, format_duration, format_seconds
from bench.stats.scaling import scalings
from bench.stats.summary import Summary, summarise
from bench.tables.advice import advice_sentences
from bench.tables.cell_values import (
    ALWAYS_KEYS,
    FEW_KEYS,
    key_columns,
    outcome_styles,
    outcome_text,
    peak_bytes,
    varying_axes,
)
from bench.tables.cells import figure_columns
from bench.tables.claims import claims_document
from bench.tables.columns import MISSING
from bench.tables.document import Block, Document, Doubts, Heading, Notes, Rows, Text
from bench.tables.figures import plain, significant, tally
from bench.tables.scaling import ranks_document, scaling_document
from bench.tables.table import Column

_ESSENTIAL_RANK = 4
"""If columns up to this rank (times, throughput, phases, peak, FLOPs) do not fit, models get separate lines."""


def cells_document(records: Sequence[Record], *, doubts: bool = True, view: str = "", run: str = "RUN") -> Document:
    """Make one row per cell, a caption above and the doubts in words below.

    The view `cold` shows the start of the cells instead of the usual columns. Commands that cure a doubt name `run`.
    """
    if not records:
        return [Text(text="no cells")]
    rows, styles = cells_rows(records, view), outcome_styles(records)
    # Cells that ended badly, but with figures: the row shows those, so the reason stands below.
    reasons = [
        Text(text=f"  {plain(record.cell.id)}: {text}", style=styles[row], indent="  ", close=True)
        for row, record in enumerate(records)
        if row not in rows.spans and (text := outcome_text(record))
    ]
    return [
        Text(text=caption(records, [summarise(record) for record in records], view), style="dim"),
        rows,
        Text(text=summary_line(records)),
        *reasons,
        Notes(lines=cold_notes(records) if view else ()),
        Doubts(sentences=advice_sentences(records, run) if doubts else ()),
    ]


def cold_notes(records: Sequence[Record]) -> list[str]:
    """State the cost of cold starts, and why one is missing."""
    taken = [one.total_seconds for record in records for one in record.cold_starts if one.total_seconds is not None]
    cost = f"Cold starts took {format_duration(sum(taken))} in {counted(len(taken), 'fresh interpreter')}"
    return [
        *([f"{cost}; their files may already have been in the system's memory"] if taken else []),
        *(
            f"no cold start of {plain(record.cell.id)}: {plain(one.reason)}"
            for record in records
            for one in record.cold_starts
            if one.reason
        ),
    ]


def cells_rows(records: Sequence[Record], view: str = "") -> Rows:
    """Make the table of cells.

    If a page is too narrow for all essential figures, each model gets a separate line with its cells below it; columns
    that still do not fit are left out by rank.
    """
    summaries = [summarise(record) for record in records]
    columns = [*key_columns(records, _keys_of(view)), *figure_columns(records, summaries, view)]
    if any(record.outcome is not Outcome.OK for record in records):
        words = tuple(record.outcome.value for record in records)
        columns.append(Column(name="outcome", cells=words, right=False, hidden_in=frozenset({"table"})))
    spans = {
        row: text
        for row, record in enumerate(records)
        if (text := outcome_text(record)) and summaries[row].step is None
    }
    heads = _heads(columns[0].cells, records)
    return Rows(columns=columns, spans=spans, styles=outcome_styles(records), heads=heads, essential=_ESSENTIAL_RANK)


def _keys_of(view: str) -> tuple[str, ...]:
    """Return the axes that are shown even if they are alike in all rows."""
    return FEW_KEYS if view else ALWAYS_KEYS


def _heads(models: Sequence[str], records: Sequence[Record]) -> list[str]:
    """Name each row's model and, if its cells agree, its parameters; empty if most models have one row only."""
    starts = [row for row in range(len(models)) if row == 0 or models[row] != models[row - 1]]
    if len(starts) * 2 > len(models):
        return []
    heads: list[str] = []
    for start, end in zip(starts, [*starts[1:], len(models)], strict=True):
        found = {r.counters.parameters for r in records[start:end] if r.counters.parameters is not None}
        name = f"{models[start]} · {next(iter(found)):,} parameters" if len(found) == 1 else models[start]
        heads += [name] * (end - start)
    return heads


def caption(records: Sequence[Record], summaries: Sequence[Summary], view: str = "") -> str:
    """Describe the common axes of all rows, and how to read the figures."""
    keys = varying_axes(records, _keys_of(view))
    cell = records[0].cell
    common = [] if "mode" in keys else [cell.mode.value]
    common += [] if "precision" in keys else [f"in {cell.precision.value}"]
    common += [] if "device" in keys else [f"on {cell.device}"]
    threads = {record.environment.threads for record in records if record.environment}
    count = next(iter(threads)) if len(threads) == 1 and cell.threads is None else None
    common += [counted(count, "thread")] if count is not None else []
    parts = [" ".join(common).replace("cpu ", "cpu, ")] if common else []
    if any(summary.step and summary.step.high is not None for summary in summaries):
        parts.append("step = median ± half its 95 % interval")
    if view:
        return " · ".join([*parts, "build and first step with torch loaded before"])
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
    return tally("cell", (record.outcome for record in records), Outcome)


def run_document(
    records: Sequence[Record], claims: Sequence[CheckedClaim] = (), environment: Environment | None = None
) -> Document:
    """Make a whole run on one page; without an environment it is the first record's."""
    environment = environment or next((r.environment for r in records if r.environment), None)
    failed = [f"{plain(record.cell.id)}: {text}" for record in records if (text := outcome_text(record))]
    grid = throughput(records)
    sections: list[tuple[str, Document]] = []
    if records:
        said = Text(text=caption(records, [summarise(record) for record in records]))
        sections.append(("Cells", [said, cells_rows(records)]))
    sections += [
        ("Throughput, examples/s", [grid] if grid else []),
        ("Scaling", scaling_document(scalings(records))),
        ("Several processes", ranks_document(records)),
        ("Doubts", [Doubts(sentences=sentences)] if (sentences := advice_sentences(records)) else []),
        ("Not measured", [Notes(lines=failed)] if failed else []),
        ("Claims", claims_document(claims) if claims else []),
    ]
    blocks: list[Block] = [Heading(text="Benchmark run", level=1)]
    blocks += [Text(text=", ".join(machine_facts(environment)))] if environment else []
    blocks.append(Text(text=summary_line(records), style="bold"))
    for title, document in sections:
        if document:
            blocks += [Heading(text=title), *document]
    return blocks


def throughput(records: Sequence[Record]) -> Rows | None:
    """Make a table of examples/s, models x (batch size, precision); None if that is no real grid.

    A grid needs at least two columns, and one record per place: further axes must not vary.
    """
    found = {
        (r.cell.model, (r.cell.batch_size, r.cell.precision.value)): summarise(r).examples_per_second for r in records
    }
    places = sorted({place for _, place in found})
    if len(found) < len(records) or len(places) < 2:
        return None
    models = list(dict.fromkeys(record.cell.model for record in records))
    columns = [Column(name="model", cells=tuple(map(plain, models)), right=False, key=True)]
    for place in places:
        values = [found.get((model, place)) for model in models]
        cells = tuple(MISSING if value is None else significant(value) for value in values)
        columns.append(Column(name=f"b{place[0]} {place[1]}", cells=cells))
    return Rows(columns=columns)


def machine_facts(environment: Environment) -> list[str]:
    """List the facts of the machine."""
    facts = [
        environment.cpu,
        f"{environment.cores} cores",
        format_bytes(environment.memory_bytes),
        *([environment.gpu] if environment.gpu else []),
        f"torch {environment.torch}",
        f"Python {environment.python}",
        f"stepbench {environment.stepbench}",
        f"fingerprint {environment.fingerprint}",
    ]
    if environment.git_commit:
        facts.append(f"commit {environment.git_commit[:12]}{' (modified)' if environment.git_dirty else ''}")
    return facts


OPTIMIZER_SHARE = 0.4
"""Share of a step from which the optimizer is a finding."""

PROCESS_SPREAD = 0.05
"""Each process has its own speed: a smaller difference between two cells is no finding."""

BATCH_PAYS = 1.1
"""A larger batch pays if its examples per second grow by this factor."""


@dataclass(frozen=True, slots=True)
class _Fit:
    """A cell that may be compared."""

    cell: Cell
    summary: Summary
    step: Estimate


def _fit_cells(records: Sequence[Record], summaries: Sequence[Summary]) -> list[_Fit]:
    return [
        _Fit(record.cell, summary, summary.step)
        for record, summary in zip(records, summaries, strict=True)
        if record.outcome is Outcome.OK
        and not UNFIT_TO_COMPARE & {advice.kind for advice in record.advice}
        and summary.step is not None
        and summary.step.low is not None
    ]


def findings(records: Sequence[Record], summaries: Sequence[Summary]) -> tuple[str, ...]:
    """Return one sentence per finding about a whole run, the most general first; empty if nothing may be compared."""
    fit = _fit_cells(records, summaries)
    return tuple(sentence for sentence in (*_precisions(fit), _optimizers(fit), _batches(fit)) if sentence is not None)


def failures(records: Sequence[Record]) -> tuple[str, ...]:
    """Return one sentence per reason why cells were not measured, uncut, because a row of a table may cut it."""
    by_reason: dict[str, list[Cell]] = {}
    for record in records:
        if record.outcome is not Outcome.OK and record.reason:
            reason = f"{record.outcome.value.replace('_', ' ')}: {plain(record.reason)}"
            by_reason.setdefault(reason, []).append(record.cell)
    return tuple(
        f"{plain(cells[0].id) if len(cells) == 1 else f'{len(cells)} cells'} {reason}"
        for reason, cells in by_reason.items()
    )


def model_findings(records: Sequence[Record], summaries: Sequence[Summary]) -> tuple[tuple[str, str], ...]:
    """Return one sentence per model: its fastest cell, and how its precisions and its optimizer compare."""
    found = []
    rates: defaultdict[str, float] = defaultdict(float)
    for record, summary in zip(records, summaries, strict=True):
        rates[record.cell.model] = max(rates[record.cell.model], summary.examples_per_second or 0.0)
    for model, cells in _by_model(_fit_cells(records, summaries)).items():
        best = max(cells, key=lambda one: one.summary.examples_per_second or 0.0)
        rate = best.summary.examples_per_second
        alike = [one.cell.precision.value for one in cells if _is_level(one, best)]
        at = f"batch {best.cell.batch_size} in {' or '.join([best.cell.precision.value, *alike])}"
        speed = f", {format_count(rate)} examples/s" if rate else ""
        among = " of the cells without a doubt" if rates[model] > (rate or 0.0) else ""
        parts = [f"fastest{among} at {at}: {format_seconds(best.step.point)} a step{speed}"]
        parts += _precisions(cells)
        share = _optimizer_share(cells)
        if share and share[1] >= OPTIMIZER_SHARE:
            parts.append(f"the optimizer takes {_percent(*share)} of the step")
        found.append((plain(model), "; ".join(parts)))
    return tuple(found)


def _is_level(one: _Fit, best: _Fit) -> bool:
    """Whether a cell differs from the fastest in its precision only, and not in speed beyond the noise."""
    is_other = one.cell != best.cell and replace(one.cell, precision=best.cell.precision) == best.cell
    return is_other and not _differ(one.step, best.step)


def _precisions(cells: Sequence[_Fit]) -> list[str]:
    """Compare each precision with fp32, cell by cell."""
    base = {one.cell: one for one in cells if one.cell.precision is Precision.FP32}
    pairs: defaultdict[Precision, list[tuple[float, bool]]] = defaultdict(list)
    for one in cells:
        other = base.get(replace(one.cell, precision=Precision.FP32))
        if other is not None and other is not one:
            pairs[one.cell.precision].append((one.step.point / other.step.point, _differ(one.step, other.step)))
    return [_compared(precision.value, ratios) for precision, ratios in pairs.items()]


def _compared(precision: str, pairs: Sequence[tuple[float, bool]]) -> str:
    slower = [ratio for ratio, differs in pairs if differs and ratio > 1]
    faster = [ratio for ratio, differs in pairs if differs and ratio < 1]
    of = "" if len(pairs) == 1 else f" in {{}} of {len(pairs)} pairs"
    alike = len(pairs) - len(slower) - len(faster)
    others = "other" if alike == 1 else f"other {alike}"
    rest = f" (in the {others} they do not differ beyond the noise)" if alike else ""
    if slower and not faster:
        return f"{precision} is slower than fp32 here{of.format(len(slower))}: its step takes {_times(slower)}{rest}"
    if faster and not slower:
        return f"{precision} is faster than fp32 here{of.format(len(faster))}: its step takes {_times(faster)}{rest}"
    if not slower and not faster:
        return f"{precision} and fp32 do not differ here beyond the noise"
    return (
        f"{precision} is faster than fp32{of.format(len(faster))}: its step takes {_times(faster)}; "
        f"slower in {len(slower)}: {_times(slower)}{rest}"
    )


def _times(ratios: Sequence[float]) -> str:
    low, high = significant(min(ratios), 2), significant(max(ratios), 2)
    return f"{low} times as long" if low == high else f"{low} to {high} times as long"


def _differ(one: Estimate, other: Estimate) -> bool:
    assert one.low is not None and one.high is not None and other.low is not None and other.high is not None
    is_apart = max(one.point, other.point) > (1 + PROCESS_SPREAD) * min(one.point, other.point)
    return is_apart and (one.low > other.high or one.high < other.low)


def _optimizer_share(cells: Sequence[_Fit]) -> tuple[float, float] | None:
    """Return the least and the largest share of a step that the optimizer takes."""
    shares = [
        optimizer / one.step.point
        for one in cells
        if one.cell.mode is Mode.TRAIN and (optimizer := one.summary.phase(Phase.OPTIMIZER)) is not None
    ]
    return (min(shares), max(shares)) if shares else None


def _percent(low: float, high: float) -> str:
    first, last = f"{low * 100:.0f}", f"{high * 100:.0f}"
    return f"{last} %" if first == last else f"{first} to {last} %"


def _by_model(cells: Sequence[_Fit]) -> dict[str, list[_Fit]]:
    found: dict[str, list[_Fit]] = {}
    for one in cells:
        found.setdefault(one.cell.model, []).append(one)
    return found


def _optimizers(cells: Sequence[_Fit]) -> str | None:
    shares = [(model, _optimizer_share(own)) for model, own in _by_model(cells).items()]
    large = [
        f"{_percent(*share)} of {plain(model)}'s step"
        for model, share in shares
        if share and share[1] >= OPTIMIZER_SHARE
    ]
    return f"the optimizer takes {', '.join(large)}" if large else None


def _batches(cells: Sequence[_Fit]) -> str | None:
    """Name the models for which the largest batch does no more examples per second than the smallest."""
    idle = []
    for model, own in _by_model(cells).items():
        groups: defaultdict[Cell, list[_Fit]] = defaultdict(list)
        for one in own:
            groups[replace(one.cell, batch_size=1)].append(one)
        gains = []
        for group in groups.values():
            ordered = sorted(group, key=lambda one: one.cell.batch_size)
            first, last = (one.summary.examples_per_second for one in (ordered[0], ordered[-1]))
            if len(group) > 1 and first and last:
                gains.append(last / first)
        if gains and max(gains) < BATCH_PAYS:
            idle.append(plain(model))
    return f"a larger batch does no more examples per second: {', '.join(idle)}" if idle else None
