"""Scaling to text: how a step's time grows with the batch, and with depth, width and sequence length.

The scaling block: cells of several processes beside the same cells of one, and why a figure is missing.

The columns of `scaling`: one row per group of cells that differ in one size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from bench.core.estimate import Estimate
from bench.core.record import Record
from bench.core.units import format_count
from bench.stats.rank_scaling import RankScaling, rank_scalings
from bench.stats.scaling import BATCH, Scaling
from bench.tables.cells import MISSING, figure_column, key_columns, noise_texts, timed_columns
from bench.tables.figures import percent, plain, significant, with_noise
from bench.tables.table import Column, Page, TableColumn, render

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
    keys = [Column(name="cells", cells=tuple(plain(one.group) for one in rows), right=False, key=True)]
    sizes = Column(name="sizes", cells=tuple(_sizes(one) for one in rows), right=False, rank=2)
    off = Column(name="off", unit="%", cells=tuple(_percent(one.misfit) for one in rows), rank=1)
    if is_batch:
        figures = [
            *_seconds("a", [one.overhead_seconds for one in rows]),
            *_seconds("b", [one.example_seconds for one in rows]),
            Column(name="90 % batch", cells=tuple(_batch(one.batch_of_90_percent) for one in rows)),
        ]
    else:
        figures = [
            Column(
                name="k",
                cells=tuple(_figure(one.exponent) for one in rows),
                noise=noise_texts([_reach(one.exponent) for one in rows]),
            ),
            Column(
                name="k (FLOPs)",
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
    return timed_columns(
        header, [None if e is None else e.point for e in estimates], [e.half_width if e else None for e in estimates]
    )


def _figure(estimate: Estimate | None) -> str:
    return MISSING if estimate is None else f"{estimate.point:.2f}"


def _reach(estimate: Estimate | None) -> str:
    half = estimate.half_width if estimate else None
    return "" if half is None else f"{half:.2f}"


def _batch(estimate: Estimate | None) -> str:
    return MISSING if estimate is None else significant(estimate.point, 2)


def _percent(fraction: float | None) -> str:
    return MISSING if fraction is None else percent(fraction)


_KEYS = ("model", "world_size", "parallel", "batch_size")


def ranks_table(records: Sequence[Record], width: int = 80, color: bool = False, unicode: bool = True) -> str:
    """Write one row per cell of several processes; empty where there is none."""
    page = Page(width=width, color=color, unicode=unicode)
    shown, found = of_ranks(records)
    if not shown:
        return ""
    caption = "efficiency = step of one process / step of all · comm = communicating and waiting, share of the step"
    notes = [page.wrap(note, "    ", "  ") for note in ranks_notes(found)]
    table = render(ranks_columns(shown, found), page)
    return "\n".join([page.paint(page.wrap(caption), "dim"), "", table, *([""] if notes else []), *notes])


def ranks_columns(shown: Sequence[Record], found: Sequence[RankScaling]) -> list[Column]:
    """Make the columns of the scaling block; one RankScaling per record."""
    shares = [_share(one) for one in found]
    return [
        *key_columns(shown, _KEYS),
        *figure_column("threads each", [r.ranks.threads if r.ranks else None for r in shown], 4, lambda n: f"{n:.0f}"),
        *figure_column("examples", [one.examples_per_second for one in found], 1, format_count, unit="/s"),
        *figure_column("efficiency", [one.efficiency for one in found], 1, lambda f: f"{f * 100:.0f}", unit="%"),
        Column(
            name="comm",
            unit="%",
            cells=tuple(value for value, _ in shares),
            noise=noise_texts([noise for _, noise in shares]),
            rank=1,
        ),
        *figure_column("slowest rank", [one.slowest_rank for one in found], 3, lambda n: f"{n:.0f}"),
        *figure_column(
            "spread", [one.rank_spread_fraction for one in found], 2, lambda f: significant(f * 100, 2), unit="%"
        ),
    ]


def ranks_notes(found: Sequence[RankScaling]) -> list[str]:
    """Say why a share is missing, once per reason."""
    reasons: dict[str, list[RankScaling]] = {}
    for one in found:
        if one.reason is not None:
            reasons.setdefault(one.reason, []).append(one)
    return [
        f"comm % of {plain(cells[0].cell.id) if len(cells) == 1 else f'{len(cells)} cells'}: {plain(reason)}"
        for reason, cells in reasons.items()
    ]


def of_ranks(records: Sequence[Record]) -> tuple[list[Record], tuple[RankScaling, ...]]:
    """Pick the cells of several processes and compare each with its cell of one."""
    return [record for record in records if record.cell.world_size > 1], rank_scalings(records)


def _share(one: RankScaling) -> tuple[str, str]:
    share, half = one.communication_fraction, one.communication_half_width
    if share is None:
        return MISSING, ""
    if half is None or share <= 0:
        return f"{share * 100:.0f}", significant(half * 100, 1) if half else ""
    return with_noise(share * 100, half * 100)


def _of(name: str) -> Callable[[Scaling], Any]:
    return lambda row: getattr(row, name)


def _estimate(name: str, part: str) -> Callable[[Scaling], Any]:
    return lambda row: None if (estimate := getattr(row, name)) is None else getattr(estimate, part)


def _interval(name: str, stem: str, suffix: str, unit: str, meaning: str) -> tuple[TableColumn, ...]:
    return (
        TableColumn(f"{stem}{suffix}", "Float64", unit, meaning, _estimate(name, "point")),
        TableColumn(f"{stem}_low{suffix}", "Float64", unit, "lower end of its 95 % interval", _estimate(name, "low")),
        TableColumn(f"{stem}_high{suffix}", "Float64", unit, "upper end", _estimate(name, "high")),
    )


SCALING = (
    TableColumn("group", "string", "", "the cells, with `*` for the size in which they differ", _of("group")),
    TableColumn("axis", "string", "", "`batch_size`, or the model's option", _of("axis")),
    TableColumn(
        "sizes", "string", "", "sizes that were measured, joined by `;`", lambda r: ";".join(map(str, r.sizes))
    ),
    *_interval("overhead_seconds", "overhead", "_seconds", "s", "a of step = a + b * batch: whatever the batch"),
    *_interval("example_seconds", "example", "_seconds", "s", "b: one more example"),
    *_interval(
        "batch_of_90_percent",
        "batch_of_90_percent",
        "",
        "examples",
        "9 a / b: where throughput reaches 90 % of its limit",
    ),
    *_interval("exponent", "exponent", "", "of the size", "k of step ~ size^k, along an option"),
    TableColumn("flops_exponent", "Float64", "of the size", "the same k of the step's FLOPs", _of("flops_exponent")),
    TableColumn("misfit_fraction", "Float64", "fraction", "how far the worst point is from the fit", _of("misfit")),
    TableColumn("follows", "boolean", "", "whether the times follow the fit within noise", _of("follows")),
    TableColumn("reason", "string", "", "why a figure is missing, or not to be believed", _of("reason")),
)
