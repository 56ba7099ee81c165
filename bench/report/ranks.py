"""The scaling block: cells of several processes beside the same cells of one, and why a figure is missing."""

from __future__ import annotations

from collections.abc import Sequence

from bench.core.record import Record
from bench.core.units import format_count
from bench.report.columns import MISSING, figure_column, key_columns
from bench.report.figures import plain, significant, with_noise
from bench.report.layout import Column, Page, render
from bench.stats.rank_scaling import RankScaling, rank_scalings

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
        *figure_column("examples /s", [one.examples_per_second for one in found], 1, format_count),
        *figure_column("efficiency %", [one.efficiency for one in found], 1, lambda f: f"{f * 100:.0f}"),
        Column(header="comm %", cells=tuple(value for value, _ in shares), rank=1),
        *(
            [Column(header="", cells=tuple(noise for _, noise in shares), right=False, rank=1, tight=True)]
            if any(noise for _, noise in shares)
            else []
        ),
        *figure_column("slowest rank", [one.slowest_rank for one in found], 3, lambda n: f"{n:.0f}"),
        *figure_column("spread %", [one.rank_spread_fraction for one in found], 2, lambda f: significant(f * 100, 2)),
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
        return f"{share * 100:.0f}", f"± {significant(half * 100, 1)}" if half else ""
    value, noise = with_noise(share * 100, half * 100)
    return value, f"± {noise}"
