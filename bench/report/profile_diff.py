"""Two profiles in words: which layers and operations account for the change."""

from __future__ import annotations

from collections.abc import Sequence

from bench.core.profile import Change, ProfileDiff
from bench.core.units import format_count, format_seconds
from bench.report.columns import timed_columns
from bench.report.figures import plain
from bench.report.layout import Column, Page, render
from bench.report.profile_operators import operation_name

SHOWN = 12
SMALLEST_SHARE = 0.01
"""Of the largest change: what changed less is summed."""


def diff_report(diff: ProfileDiff, *, width: int = 80, color: bool = False, unicode: bool = True) -> str:
    """Write the rows that changed most; the last row of each table is the change of the step."""
    page = Page(width=width, color=color, unicode=unicode)
    parts = [
        page.wrap(_headline(diff)),
        render(_columns("layer", diff.layers, diff, with_flops=True), page, total=True),
    ]
    parts.append(render(_columns("operation", diff.operators, diff, with_flops=False), page, total=True))
    if diff.doubts:
        parts.append("\n".join(page.wrap(f"Doubt: {plain(doubt)}", "  ", "") for doubt in diff.doubts))
    return "\n\n".join(parts)


def _headline(diff: ProfileDiff) -> str:
    before, after = plain(diff.before.id), plain(diff.after.id)
    cells = before if before == after else f"{before} to {after}"
    share = diff.seconds / diff.before_seconds
    words = (
        f"{cells}: a step took {format_seconds(diff.before_seconds)} and takes {format_seconds(diff.after_seconds)},"
        f" {share * 100:+.1f} %."
    )
    if abs(diff.seconds) <= diff.noise_seconds:
        words += f" Steps of one run spread by {format_seconds(diff.noise_seconds)} already: this change says nothing."
    elif diff.layers:
        words += f" Most of it: {_name(diff.layers[0])}."
    return words + " Two runs of unchanged code differ too; only `bench ab` judges."


def _columns(title: str, changes: Sequence[Change], diff: ProfileDiff, *, with_flops: bool) -> list[Column]:
    least = SMALLEST_SHARE * max((abs(change.seconds) for change in changes), default=0.0)
    top = [change for change in changes if abs(change.seconds) > least][:SHOWN]
    rest = changes[len(top) :]  # they are sorted
    names = [_name(change) for change in top]
    before = [change.before for change in top]
    after = [change.after for change in top]
    seconds = [change.seconds for change in top]
    flops = [change.flops for change in top]
    if rest:
        names.append(f"{len(rest)} others")
        before.append(sum(change.before or 0.0 for change in rest))
        after.append(sum(change.after or 0.0 for change in rest))
        seconds.append(sum(change.seconds for change in rest))
        flops.append(sum(change.flops for change in rest))
    names.append("step")
    before.append(diff.before_seconds)
    after.append(diff.after_seconds)
    seconds.append(diff.seconds)
    flops.append(sum(flops))
    total = diff.seconds
    shares = tuple(f"{value / total * 100:z.0f}" if total else "-" for value in seconds)
    none = [None] * len(names)
    columns = [
        Column(header=title, cells=tuple(names), right=False, key=True),
        *timed_columns("before", before, none),
        *timed_columns("after", after, none),
        Column(header="change", cells=tuple(_signed(value) for value in seconds)),
        Column(header="share %", cells=shares, rank=1),
    ]
    if with_flops and any(flops):
        cells = tuple(f"{'+' if value > 0 else '-'}{format_count(abs(value))}" if value else "0" for value in flops)
        columns.append(Column(header="FLOPs", cells=cells, rank=2))
    return columns


def _name(change: Change) -> str:
    name = operation_name(change.name) or "(the model itself)"
    if change.before is None:
        return f"{name} (added)"
    return f"{name} (removed)" if change.after is None else name


def _signed(seconds: float) -> str:
    return f"{'-' if seconds < 0 else '+'}{format_seconds(abs(seconds))}"
