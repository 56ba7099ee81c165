"""Scaling to text: how a step's time grows with the batch, and with depth, width and sequence length."""

from __future__ import annotations

from collections.abc import Sequence

from bench.core.estimate import Estimate
from bench.report.columns import MISSING, timed_columns
from bench.report.figures import percent, plain, significant
from bench.report.layout import Column, Page, render
from bench.stats.scaling_groups import BATCH, Scaling

READING = {
    True: "Step time = a + b * batch; a: overhead, b: one more example; 90 %: batch of 90 % of the highest throughput.",
    False: "Step time ~ size^k; k (FLOPs): exponent of the FLOPs. Off: how far the worst point is from the fit.",
}


def scaling_tables(scalings: Sequence[Scaling], width: int = 80, color: bool = False, unicode: bool = True) -> str:
    """Write one table for the batch and one for the sizes of models, with what to doubt below; "" for no group."""
    page = Page(width=width, color=color, unicode=unicode)
    parts = []
    for is_batch in (True, False):
        rows = chosen(scalings, is_batch=is_batch)
        if not rows:
            continue
        styles: dict[int, str | None] = {row: "yellow" for row, one in enumerate(rows) if one.reason}
        parts += [page.paint(page.wrap(READING[is_batch]), "dim"), ""]
        parts += [render(scaling_columns(rows, is_batch=is_batch), page, styles=styles), ""]
        notes = scaling_notes(rows)
        parts += [*(page.wrap(note, "  ", first="") for note in notes), *([""] if notes else [])]
    return "\n".join(parts[:-1])


def chosen(scalings: Sequence[Scaling], *, is_batch: bool) -> list[Scaling]:
    """Return the groups along the batch, or those along options of models."""
    return [one for one in scalings if (one.axis == BATCH) == is_batch]


def scaling_columns(rows: Sequence[Scaling], *, is_batch: bool) -> list[Column]:
    """Make the columns of one of the two tables."""
    keys = [Column(header="cells", cells=tuple(plain(one.group) for one in rows), right=False, key=True)]
    sizes = Column(header="sizes", cells=tuple(_sizes(one) for one in rows), right=False, rank=2)
    off = Column(header="off %", cells=tuple(_percent(one.misfit) for one in rows), rank=1)
    if is_batch:
        figures = [
            *_seconds("a", [one.overhead_seconds for one in rows]),
            *_seconds("b", [one.example_seconds for one in rows]),
            Column(header="90 % batch", cells=tuple(_batch(one.batch_of_90_percent) for one in rows)),
        ]
    else:
        figures = [
            Column(header="k", cells=tuple(_figure(one.exponent) for one in rows)),
            Column(header="", cells=tuple(_reach(one.exponent) for one in rows), right=False, tight=True),
            Column(
                header="k (FLOPs)",
                cells=tuple(MISSING if one.flops_exponent is None else f"{one.flops_exponent:.2f}" for one in rows),
            ),
        ]
    return [*keys, *figures, off, sizes]


def scaling_notes(rows: Sequence[Scaling]) -> list[str]:
    """Say where a fit is missing or does not hold; groups of one reason share a sentence."""
    by_reason: dict[str, list[str]] = {}
    for one in rows:
        if one.reason:
            by_reason.setdefault(one.reason, []).append(one.group)
    return [f"{plain(', '.join(groups))}: {reason}." for reason, groups in by_reason.items()]


def _sizes(one: Scaling) -> str:
    return f"{one.axis} " + ", ".join(map(str, one.sizes))


def _seconds(header: str, estimates: Sequence[Estimate | None]) -> list[Column]:
    return timed_columns(header, [None if e is None else e.point for e in estimates], [_half(e) for e in estimates])


def _half(estimate: Estimate | None) -> float | None:
    if estimate is None or estimate.low is None or estimate.high is None:
        return None
    return (estimate.high - estimate.low) / 2


def _figure(estimate: Estimate | None) -> str:
    return MISSING if estimate is None else f"{estimate.point:.2f}"


def _reach(estimate: Estimate | None) -> str:
    half = _half(estimate)
    return "" if half is None else f"± {half:.2f}"


def _batch(estimate: Estimate | None) -> str:
    return MISSING if estimate is None else significant(estimate.point, 2)


def _percent(fraction: float | None) -> str:
    return MISSING if fraction is None else percent(fraction)
