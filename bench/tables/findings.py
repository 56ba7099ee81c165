"""What a run found, in sentences: which precision is faster, what the optimizer takes, whether a larger batch pays.

Only cells fit to be compared count: measured with an interval, on a machine that was not busy. Two steps differ where
their intervals do not overlap and they are further apart than two processes of the same code.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from bench.core.cell import Cell, Mode, Precision
from bench.core.estimate import Estimate
from bench.core.record import UNFIT_TO_COMPARE, Outcome, Phase, Record
from bench.core.units import format_count, format_seconds
from bench.stats.summary import Summary
from bench.tables.figures import plain, significant

OPTIMIZER_SHARE = 0.4
"""An optimizer that takes this share of a step is worth a sentence."""

PROCESS_SPREAD = 0.05
"""Each cell is one process, which has a speed of its own: less than this between two of them is no finding."""

BATCH_PAYS = 1.1
"""A larger batch that does so many times the examples per second pays."""


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
    """Return one sentence per finding about a whole run, the most general first; none where nothing may be compared."""
    fit = _fit_cells(records, summaries)
    return tuple(sentence for sentence in (*_precisions(fit), _optimizers(fit), _batches(fit)) if sentence is not None)


def failures(records: Sequence[Record]) -> tuple[str, ...]:
    """Return one sentence per reason why cells were not measured, whole: a row of a table may cut it."""
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
    for model, cells in _by_model(_fit_cells(records, summaries)).items():
        best = max(cells, key=lambda one: one.summary.examples_per_second or 0.0)
        rate = best.summary.examples_per_second
        at = f"batch {best.cell.batch_size} in {best.cell.precision.value}"
        speed = f", {format_count(rate)} examples/s" if rate else ""
        parts = [f"fastest at {at}: {format_seconds(best.step.point)} a step{speed}"]
        parts += _precisions(cells)
        share = _optimizer_share(cells)
        if share and share[1] >= OPTIMIZER_SHARE:
            parts.append(f"the optimizer takes {_percent(*share)} of the step")
        found.append((plain(model), "; ".join(parts)))
    return tuple(found)


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
    slower = sum(differs and ratio > 1 for ratio, differs in pairs)
    faster = sum(differs and ratio < 1 for ratio, differs in pairs)
    of = "" if len(pairs) == 1 else f" in {{}} of {len(pairs)} pairs"
    ratios = [ratio for ratio, _ in pairs]
    low, high = significant(min(ratios), 2), significant(max(ratios), 2)
    times = f"{low} times" if low == high else f"{low} to {high} times"
    takes = f"its step takes {times} as long"
    if slower and not faster:
        return f"{precision} is slower than fp32 here{of.format(slower)}: {takes}"
    if faster and not slower:
        return f"{precision} is faster than fp32 here{of.format(faster)}: {takes}"
    if not slower and not faster:
        return f"{precision} and fp32 do not differ here beyond the noise"
    return f"{precision} is faster than fp32{of.format(faster)} and slower in {slower}: {takes}"


def _differ(one: Estimate, other: Estimate) -> bool:
    assert one.low is not None and one.high is not None and other.low is not None and other.high is not None
    is_apart = max(one.point, other.point) > (1 + PROCESS_SPREAD) * min(one.point, other.point)
    return is_apart and (one.low > other.high or one.high < other.low)


def _optimizer_share(cells: Sequence[_Fit]) -> tuple[float, float] | None:
    """Return the least and the largest share of a step that the optimizer takes."""
    shares = [
        optimizer.point / one.step.point
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
