"""Trends as text: many as a table, one as a plot with its points; nominations with the commands that can judge.

A series in a terminal is one line of blocks, or a plot of a few lines. The scale spans the values, but at least a tenth
of their median, so that 1 % of noise stays nearly flat. Also describes what a pruning removes from a history.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Collection, Sequence

from bench.core.history import HistoryNomination, NominationKind, Pruned, Trend
from bench.core.units import counted, listed
from bench.tables.cells import CELLS
from bench.tables.columns import MISSING, noise_texts
from bench.tables.document import Block, Document, Notes, Rows, Text, Verbatim
from bench.tables.figures import byte_unit, count_unit, plain, significant, time_unit, with_noise
from bench.tables.table import Column, Page

_BLOCKS = "▁▂▃▄▅▆▇█"
_LEAST_RANGE = 0.10

Values = Sequence[float | None]


def sparkline(values: Values, width: int = 24) -> str:
    """Draw a series as one line, newest right; with more values than columns, by their medians."""
    binned = [_median(part) for part in _bins(values, width)]
    span = scale_of(binned)
    if span is None:
        return ""
    low, high = span
    levels = [None if v is None else round((v - low) / (high - low) * (len(_BLOCKS) - 1)) for v in binned]
    return "".join(" " if level is None else _BLOCKS[level] for level in levels)


def plot(
    values: Values,
    labels: tuple[str, str],
    *,
    width: int = 60,
    height: int = 8,
    marks: Collection[int] = (),
) -> list[str]:
    """Draw a series as a plot, one point per column.

    Args:
        values: Oldest first.
        labels: Labels of the upper and the lower end of the scale, written left of the axis.
        width: Columns in all.
        height: Lines.
        marks: Indexes before which a vertical line is drawn.

    Returns:
        Lines, the axis last; empty if there is no value.
    """
    room = max(map(len, labels)) + 2
    columns = max(width - room, 8)
    bins = _bins(values, columns)
    binned = [_median(part) for part in bins]
    span = scale_of(binned)
    if span is None:
        return []
    low, high = span
    grid = [[" "] * len(binned) for _ in range(height)]
    for index in marks:
        place = index * len(binned) // max(len(values), 1)
        for line in grid:
            line[min(place, len(binned) - 1)] = "┊"
    for column, value in enumerate(binned):
        if value is not None:
            grid[height - 1 - round((value - low) / (high - low) * (height - 1))][column] = "•"
    lines = []
    for row, line in enumerate(grid):
        label = labels[0] if row == 0 else labels[1] if row == height - 1 else ""
        lines.append(f"{label:>{room - 2}} {'┤' if label else '│'}{''.join(line)}".rstrip())
    return [*lines, " " * (room - 1) + "└" + "─" * len(binned)]


def scale_of(values: Values) -> tuple[float, float] | None:
    """Choose the ends of the scale; None if there is no value."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    low, high = min(known), max(known)
    missing = max(_LEAST_RANGE * abs(statistics.median(known)) - (high - low), 0.0)
    low, high = low - missing / 2, high + missing / 2
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _bins(values: Values, count: int) -> list[Values]:
    if len(values) <= count:
        return [[value] for value in values]
    edges = [index * len(values) // count for index in range(count + 1)]
    return [values[begin:end] for begin, end in itertools.pairwise(edges)]


def _median(values: Values) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


WHY_NO_VERDICT = (
    "These are nominations, not verdicts, and never fail a build by time: the points of a series were measured on "
    "different days, each by a process with its own speed. A count that changed is exact."
)
_KIND_WORDS = {
    NominationKind.NEWEST: "newest value is not what the past predicts",
    NominationKind.CHANGE: "the level changed",
    NominationKind.EXACT: "exact",
}
_SHORT = 9
_WHOLE = frozenset(column.name for column in CELLS if column.dtype == "Int64")


def unit_of(metric: str, values: Sequence[float]) -> tuple[float, str]:
    """Choose the unit to write a metric in, as (SI units per unit, name)."""
    if metric.endswith("_seconds"):
        return time_unit(values) or (1.0, "s")
    if metric.endswith("_bytes") or metric == "bytes_touched":
        return byte_unit(values) or (1.0, "B")
    if metric.endswith("_joules"):
        return 1.0, "J"
    scale, prefix = count_unit(values) or (1.0, "")
    return scale, f"{prefix}/s" if metric.endswith("_per_second") else prefix


def level_change(trend: Trend) -> float | None:
    """Compare the newest value with the median of those before it, since the last accepted change: ratio less 1."""
    begin = trend.accepted[-1].index if trend.accepted else 0
    values = [point.value for point in trend.points[begin:] if point.value is not None]
    if len(values) < 2 or trend.points[-1].value is None:
        return None
    level = statistics.median(values[:-1])
    return values[-1] / level - 1 if level else None


def trends_document(trends: Sequence[Trend]) -> Document:
    """Make a row per cell and machine: newest value, how far it is from its level, and a sparkline.

    Series that never had the metric, such as the tokens of an image model, are only counted.
    """
    metric, every = trends[0].metric, len(trends)
    trends = [one for one in trends if _is_told(one)] or trends
    rest = f", {every - len(trends)} without it" if len(trends) < every else ""
    newest = [trend.points[-1].value if trend.points else None for trend in trends]
    scale, unit = unit_of(metric, [value for value in newest if value is not None])
    machines = list(dict.fromkeys((trend.fingerprint or MISSING, trend.machine) for trend in trends))
    letters = {fingerprint: _letters(index) for index, (fingerprint, _) in enumerate(machines)}
    changes = [level_change(trend) for trend in trends]
    commits = tuple(_hash(t.points[-1].commit, t.points[-1].is_dirty) if t.points else MISSING for t in trends)
    columns = [
        Column(name="cell", cells=tuple(plain(trend.cell_id) for trend in trends), right=False, key=True),
        Column(name="on", cells=tuple(letters[t.fingerprint or MISSING] for t in trends), right=False),
        Column(name="n", cells=tuple(f"{trend.count:,}" for trend in trends), rank=1),
        Column(
            name="newest",
            unit=unit,
            cells=tuple(MISSING if value is None else significant(value / scale) for value in newest),
        ),
        Column(name="change", unit="%", cells=tuple(_percent(ratio) for ratio in changes)),
        Column(
            name="trend",
            cells=tuple(sparkline([p.value for p in t.points], 16) for t in trends),
            right=False,
        ),
        Column(name="commit", cells=commits, right=False, rank=2),
    ]
    spans = {
        row: f"{t.points[-1].outcome}: {plain(t.points[-1].reason or '')}"
        for row, t in enumerate(trends)
        if t.points and t.points[-1].outcome != "ok"
    }
    return [
        Rows(columns=columns, spans=spans, styles=dict.fromkeys(spans, "yellow")),
        Notes(lines=[f"{letters[f]}: {plain(machine)} ({f})" for f, machine in machines], first="", indent="   "),
        Text(
            text=f"{metric}: {len(trends)} series{rest}; change is of the newest against the median before it",
            close=True,
        ),
    ]


def _is_told(trend: Trend) -> bool:
    has_ended_badly = bool(trend.points) and trend.points[-1].outcome != "ok"
    return has_ended_badly or any(point.value is not None for point in trend.points)


def trend_document(trend: Trend, *, shown: int = 20) -> Document:
    """Make one trend: a plot, then its newest points."""
    known = [point.value for point in trend.points if point.value is not None]
    scale, unit = unit_of(trend.metric, known)
    count = f"the newest {len(trend.points):,} of {trend.count:,} measurements"
    accepted = [f"accepted at {mark.commit[:_SHORT]}: {plain(mark.reason)}" for mark in trend.accepted]
    return [
        Text(text=f"{plain(trend.cell_id)} · {trend.metric} · {count}"),
        Text(text=f"{plain(trend.machine)} ({trend.fingerprint})", style="dim", close=True),
        Verbatim(lines=lambda page: _plotted(trend, scale, unit, page)),
        points_rows(trend, shown, scale, unit),
        Notes(lines=accepted, first="", indent="  ", close=True),
    ]


def _plotted(trend: Trend, scale: float, unit: str, page: Page) -> list[str]:
    values = [point.value for point in trend.points]
    if (span := scale_of(values)) is None:
        return []
    upper, lower = (page.sign(f"{significant(end / scale)} {unit}".strip()) for end in reversed(span))
    marks = [mark.index for mark in trend.accepted]
    drawn = plot(values, (upper, lower), width=min(page.width, 100), marks=marks)
    return [*drawn, _dates(trend, drawn[-1])]


def _dates(trend: Trend, axis: str) -> str:
    first, last = trend.points[0].started_at[:10], trend.points[-1].started_at[:10]
    room = len(axis) - len(axis.lstrip())
    gap = len(axis) - room - len(first) - len(last)
    return " " * room + (first + " " * gap + last if gap > 0 else last)


def points_rows(trend: Trend, shown: int, scale: float, unit: str) -> Rows:
    """Make the newest points of a trend."""
    begin = max(len(trend.points) - shown, 0)
    points = trend.points[begin:]
    figures = [
        (MISSING, "")
        if p.value is None
        else with_noise(p.value / scale, None if p.low is None or p.high is None else (p.high - p.low) / 2 / scale)
        for p in points
    ]
    if trend.metric in _WHOLE:  # a count is exact: all of its digits
        figures = [(MISSING if p.value is None else f"{p.value:,.0f}", "") for p in points]
        unit = ""
    before = [_previous(trend, begin + index) for index in range(len(points))]
    changes = [None if p.value is None or not b else p.value / b - 1 for p, b in zip(points, before, strict=True)]
    accepted = {mark.index for mark in trend.accepted}
    columns = [
        Column(
            name="started (UTC)",
            cells=tuple(p.started_at[:16].replace("T", " ") for p in points),
            right=False,
            key=True,
        ),
        Column(name="commit", cells=tuple(_hash(p.commit, p.is_dirty) for p in points), right=False),
        Column(
            name="value",
            unit=unit,
            cells=tuple(value for value, _ in figures),
            noise=noise_texts([noise for _, noise in figures]),
        ),
        Column(name="change", unit="%", cells=tuple(_percent(ratio) for ratio in changes)),
        Column(
            name="worth",
            cells=tuple(MISSING if p.n_effective is None else f"{p.n_effective:.0f}" for p in points),
            rank=1,
        ),
    ]
    marks = tuple("accepted" if begin + index in accepted else "" for index in range(len(points)))
    columns += [Column(name="", cells=marks, right=False)] if any(marks) else []
    spans = {row: f"{p.outcome}: {plain(p.reason or '')}" for row, p in enumerate(points) if p.outcome != "ok"}
    return Rows(columns=columns, spans=spans, styles=dict.fromkeys(spans, "yellow"))


def _previous(trend: Trend, index: int) -> float | None:
    return next((p.value for p in reversed(trend.points[:index]) if p.value is not None), None)


def nominations_document(nominations: Sequence[HistoryNomination], looked_at: int) -> Document:
    """Describe each nomination with its commits and the command that can judge; then why none is a verdict."""
    blocks: list[Block] = []
    for n in nominations:
        head = f"{plain(n.cell_id)}  {n.metric} {_moved(n)}  ({_KIND_WORDS[n.kind]})"
        between = f"between {_hash(n.good_commit, None)} and {_hash(n.bad_commit, None)}, measured {n.started_at[:16]}"
        facts = [between, f"after {n.past} measurements"]
        if n.low is not None and n.high is not None:
            scale, unit = unit_of(n.metric, [n.low, n.high])
            facts.append(f"predicted {significant(n.low / scale)} to {significant(n.high / scale)} {unit}")
        if n.is_dirty:
            facts.append("with uncommitted changes")
        judge = "compare" if n.kind is NominationKind.EXACT else "judge"
        commands = [f"  {judge}: {plain(n.command)}"] if n.command is not None else []
        accept = [f"  accept: {plain(n.accept)}"] if n.accept is not None else []
        blocks += [
            Text(text=head, style="yellow", indent="  "),
            Notes(lines=[", ".join(facts)], indent="  ", close=True),
            Verbatim(lines=commands, close=True),
            Notes(lines=[f"note: {n.why_none}"] if n.why_none else [], close=True),
            Verbatim(lines=accept, close=True),
        ]
    count = len(nominations)
    cells = len({n.cell_key for n in nominations})
    total = f"{looked_at:,} series looked at: {counted(count, 'nomination')}"
    where = f" in {counted(cells, 'cell')}" if cells else ""
    return [*blocks, Text(text=total + where), Text(text=WHY_NO_VERDICT, close=True)]


def _moved(n: HistoryNomination) -> str:
    if isinstance(n.before, str) or isinstance(n.after, str):
        return f"{n.before} -> {n.after}"
    ratio = f" ({_percent(math.expm1(n.shift))} %)" if n.shift is not None else ""
    if n.kind is NominationKind.EXACT:
        return f"{n.before:,.0f} -> {n.after:,.0f}{ratio}"
    scale, unit = unit_of(n.metric, [n.before, n.after])
    return f"{significant(n.before / scale)} -> {significant(n.after / scale)} {unit}{ratio}"


def _percent(ratio: float | None) -> str:
    """Write a ratio less 1 in percent; a small one is never written as 0, because a count is exact."""
    if not ratio:
        return MISSING if ratio is None else "0"
    if abs(ratio) < 0.001:
        return f"{'-' if ratio < 0 else '+'}{significant(abs(ratio) * 100, 1)}"
    return f"{ratio * 100:+.1f}"


def _hash(commit: str | None, is_dirty: bool | None) -> str:
    """Write a commit for people; a plus marks uncommitted changes."""
    return MISSING if commit is None else plain(commit[:_SHORT]) + ("+" if is_dirty else "")


def _letters(index: int) -> str:
    """Name machines A, B, ... Z, AA, ..."""
    text = ""
    index += 1
    while index:
        index, rest = divmod(index - 1, 26)
        text = chr(65 + rest) + text
    return text


def pruned_document(pruned: Pruned) -> Document:
    """Describe what was removed, or would be, and what stays although a limit reached it."""
    verb = "were removed" if pruned.is_done else "would be removed"
    span = f", measured {pruned.oldest[:10]} to {pruned.newest[:10]}" if pruned.oldest and pruned.newest else ""
    said = [f"{pruned.records:,} of {pruned.of:,} records {verb}, of {counted(pruned.cells, 'cell')}{span}"]
    if pruned.kept_accepted:
        said.append(f"{pruned.kept_accepted:,} more match the limits, but stay: a change was accepted there")
    if pruned.runs:
        said.append(f"runs without any record left: {listed(list(map(plain, pruned.runs)), 10)}")
    said += [f"raw folders that {verb}:"] if pruned.folders else []
    left = "Nothing was changed; --yes does it." if not pruned.is_done and pruned.records else ""
    return [
        *(Text(text=text, indent="  ", close=True) for text in said),
        Verbatim(lines=[f"  {plain(folder)}" for folder in pruned.folders], close=True),
        *(Text(text=plain(problem), style="yellow", indent="  ", close=True) for problem in pruned.problems),
        Text(text=left, close=True),
    ]
