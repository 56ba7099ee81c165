"""Comparisons to eyes: a table, a reason per verdict, and what to doubt; for terminals and as Markdown."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from bench.core.comparison import Comparison, ComparisonVerdict
from bench.report.comparison_words import change, fact_lines, percent_of, reason_text
from bench.report.figures import plain, significant, time_unit
from bench.report.layout import Column, Page, render
from bench.report.markdown import escape, table

_STYLES = {
    ComparisonVerdict.SLOWER: "red",
    ComparisonVerdict.FASTER: "green",
    ComparisonVerdict.INCONCLUSIVE: "yellow",
    ComparisonVerdict.INCOMPARABLE: "yellow",
}
_COMMON = re.compile(r"train|infer|cpu|cuda:\d+|fp32|tf32|bf16|fp16-amp|bf16-amp")
_RANGES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
STRIP_WIDTH = 13


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """What stands above and below the table.

    Attributes:
        base: Of the base, in words: `origin/main (1a2b3c4)`.
        method: How it was measured, in words.
        notes: What to know besides, one sentence each.
        unfit: Why the machine could not be measured on.
    """

    base: str
    head: str
    method: str
    notes: tuple[str, ...] = ()
    unfit: str | None = None


def comparison_report(
    comparisons: Sequence[Comparison], heading: Heading, *, width: int = 80, color: bool = False, unicode: bool = True
) -> str:
    """Write a comparison for a terminal; no line is wider than `width`."""
    page = Page(width=width, color=color, unicode=unicode)
    scale = strip_range(comparisons)
    names, common = short_names([c.cell_id for c in comparisons])
    columns = _columns(comparisons, names, scale, unicode=unicode)
    spans = {row: _span(c) for row, c in enumerate(comparisons) if c.shift is None}
    styles = {row: _STYLES.get(c.verdict) for row, c in enumerate(comparisons)}
    parts = [
        page.wrap(f"base {plain(heading.base)} · head {plain(heading.head)}"),
        page.paint(page.wrap(" · ".join(filter(None, (common, heading.method)))), "dim"),
        "",
        render(columns, page, spans=spans, styles=styles) if comparisons else "no cells",
        "",
        *(page.wrap(line, "  ") for line in _notes(comparisons, names, page)),
    ]
    if heading.unfit:
        parts += ["", page.paint(page.wrap(f"UNFIT: {heading.unfit}"), "red")]
    parts += [page.wrap(f"Note: {note}", "  ") for note in heading.notes]
    parts += ["", page.wrap(summary(comparisons))]
    return "\n".join(parts)


def comparison_markdown(comparisons: Sequence[Comparison], heading: Heading) -> str:
    """Write a comparison as Markdown, for a comment at a pull request: the verdict first."""
    return f"### {escape(headline(comparisons, heading))}\n\n{comparison_details(comparisons, heading)}"


def comparison_details(comparisons: Sequence[Comparison], heading: Heading) -> str:
    """Write a comparison as Markdown without its headline: the sides, the table, a reason per verdict."""
    names, common = short_names([c.cell_id for c in comparisons])
    columns = _columns(comparisons, names, strip_range(comparisons), unicode=True)
    page = Page(width=10_000)
    lines = [
        f"base {escape(heading.base)}, head {escape(heading.head)}. {escape(heading.method)}",
        "",
        table(columns) if comparisons else "no cells",
        "",
        *(f"- {escape(line.strip())}" for line in _notes(comparisons, names, page, with_strips=False)),
        *([f"- UNFIT: {escape(heading.unfit)}"] if heading.unfit else []),
        *(f"- {escape(note)}" for note in heading.notes),
    ]
    if common:
        lines += ["", f"All: {escape(common)}."]
    return "\n".join(lines) + "\n"


def headline(comparisons: Sequence[Comparison], heading: Heading) -> str:
    """Say the most important thing in one line."""
    verdicts = {c.verdict for c in comparisons}
    if ComparisonVerdict.SLOWER in verdicts:
        return f"Slower: {summary(comparisons)}"
    if heading.unfit:
        return f"No verdict, the machine is unfit: {summary(comparisons)}"
    if verdicts & {ComparisonVerdict.INCOMPARABLE, ComparisonVerdict.INCONCLUSIVE}:
        return f"No regression shown, not all judged: {summary(comparisons)}"
    return f"No regression: {summary(comparisons)}"


def summary(comparisons: Sequence[Comparison]) -> str:
    """Count the verdicts: `3 cells: 1 slower, 2 same`."""
    counts = Counter(c.verdict for c in comparisons)
    order = (ComparisonVerdict.SLOWER, ComparisonVerdict.FASTER, *ComparisonVerdict)
    found = [f"{counts[v]} {v.value}" for v in dict.fromkeys(order) if counts[v]]
    return f"{len(comparisons)} cell{'' if len(comparisons) == 1 else 's'}: {', '.join(found) or 'none'}"


def short_names(cell_ids: Sequence[str]) -> tuple[list[str], str]:
    """Leave out of the cells' names what all have in common; return the names, and what was left out."""
    ids = [cell_id.split("/") for cell_id in cell_ids]
    shared = [part for part in (ids[0] if ids else []) if _COMMON.fullmatch(part) and all(part in i for i in ids)]
    names = [plain("/".join(part for part in parts if part not in shared)) for parts in ids]
    return names, ", ".join(shared)


def strip(shifts: Sequence[float], scale: float, *, unicode: bool = True) -> str:
    """Draw session shifts on a line from -scale to +scale; zero is in the middle, what lies outside is an arrow."""
    marks, middle, left, right = ("·•●", "│", "‹", "›") if unicode else (".oO", "|", "<", ">")
    half = STRIP_WIDTH // 2
    cells = [" "] * (2 * half + 1)
    cells[half] = middle
    for place, count in Counter(round(max(-1.0, min(1.0, s / scale)) * half) + half for s in shifts).items():
        cells[place] = marks[min(count, len(marks)) - 1]
    if any(shift < -scale for shift in shifts):
        cells[0] = left
    if any(shift > scale for shift in shifts):
        cells[-1] = right
    return "".join(cells)


def strip_range(comparisons: Sequence[Comparison]) -> float:
    """Choose one range for all strips: the smallest round one that holds nine of ten shifts."""
    shifts = sorted(abs(shift) for c in comparisons for shift in c.session_shifts)
    if not shifts:
        return _RANGES[2]
    wanted = shifts[min(len(shifts) - 1, math.floor(0.9 * len(shifts)))]
    return next((limit for limit in _RANGES if limit >= wanted), _RANGES[-1])


def _columns(comparisons: Sequence[Comparison], names: Sequence[str], scale: float, *, unicode: bool) -> list[Column]:
    points = [e.point for c in comparisons for e in (c.base, c.head) if e is not None]
    unit = time_unit(points) or (1.0, "s")

    def seconds(side: str) -> tuple[str, ...]:
        estimates = [getattr(c, side) for c in comparisons]
        return tuple("-" if e is None else significant(e.point / unit[0]) for e in estimates)

    interval = tuple(
        "-" if c.low is None or c.high is None else f"{change(c.low)}..{change(c.high)}" for c in comparisons
    )
    values = tuple("-" if c.p_adjusted is None else f"{c.p_adjusted:.3f}" for c in comparisons)
    strips = tuple(strip(c.session_shifts, scale, unicode=unicode) for c in comparisons)
    return [
        Column(header="cell", cells=tuple(names), right=False, key=True),
        Column(header=f"base {unit[1]}", cells=seconds("base")),
        Column(header=f"head {unit[1]}", cells=seconds("head")),
        Column(header="change %", cells=tuple(change(c.shift) for c in comparisons)),
        Column(header="interval 95%", cells=interval, rank=1),
        Column(header="sees %", cells=tuple(percent_of(c.minimum_detectable) for c in comparisons)),
        Column(header="verdict", cells=tuple(_verdict(c) for c in comparisons), right=False),
        Column(header="p", cells=values, rank=2),
        Column(header=f"sessions ±{scale:.0%}", cells=strips, right=False, rank=3),
    ]


def _verdict(comparison: Comparison) -> str:
    is_loud = comparison.verdict in (ComparisonVerdict.SLOWER, ComparisonVerdict.FASTER)
    return comparison.verdict.value.upper() if is_loud else comparison.verdict.value


def _span(comparison: Comparison) -> str:
    return f"{comparison.verdict.value}: {plain(reason_text(comparison))}"


def _notes(
    comparisons: Sequence[Comparison], names: Sequence[str], page: Page, *, with_strips: bool = True
) -> list[str]:
    """Say for every cell why its verdict is what it is; then its facts and its void sessions."""
    scale = strip_range(comparisons)
    lines = []
    if with_strips and any(c.session_shifts for c in comparisons):
        lines.append(f"[{'-':<6}0{'+':>6}] one dot per session, from -{scale:.0%} to +{scale:.0%}")
    for comparison, name in zip(comparisons, names, strict=True):
        drawn = f"[{strip(comparison.session_shifts, scale, unicode=page.unicode)}] " if with_strips else ""
        has_strip = bool(comparison.session_shifts)
        lines.append(f"{drawn if has_strip else ''}{name}: {_verdict(comparison)}: {plain(reason_text(comparison))}")
        lines += [f"{name}: {plain(fact)}" for fact in fact_lines(comparison)]
    return lines
