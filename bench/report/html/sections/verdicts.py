"""Verdicts of `bench ab`: intervals on one scale, a dot per session, and the reason."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from bench.core.comparison import Comparison, ComparisonVerdict
from bench.report.html.contract import ReportData, Section
from bench.store.stored import StoredComparison
from bench.tables.comparison import (
    change,
    fact_lines,
    headline,
    percent_of,
    reason_text,
    short_names,
    sides_of,
    strip_range,
)
from bench.tables.figures import first, name, seconds_text, words

_TONES = {
    ComparisonVerdict.SLOWER: "bad",
    ComparisonVerdict.FASTER: "good",
    ComparisonVerdict.INCONCLUSIVE: "doubt",
    ComparisonVerdict.INCOMPARABLE: "doubt",
    ComparisonVerdict.SAME: "quiet",
}
_MOST = 200


def build(data: ReportData) -> Mapping[str, Any] | None:
    """Show each comparison folder that is among the runs."""
    found = [(run.id, run.comparison) for run in data.runs if run.comparison is not None]
    return {"comparisons": [_shown(run_id, ab) for run_id, ab in found]} if found else None


SECTION = Section(anchor="verdicts", title="Verdicts", build=build)


def place(shift: float, scale: float) -> float:
    """Place a shift between 0 and 100; zero change is at 50."""
    return 50 + 50 * max(-1.0, min(1.0, shift / scale))


def _shown(run_id: str, ab: StoredComparison) -> dict[str, Any]:
    comparisons, note = first(ab.comparisons, _MOST, "cells")
    names, common = short_names([c.cell_id for c in comparisons])
    scale = max(strip_range(comparisons), *(_reach(c) for c in comparisons), 0.01)
    thresholds = dict(comparisons[0].facts) if comparisons else {}
    tolerate = thresholds.get("tolerate")
    heading = ab.heading
    return {
        "run": name(run_id),
        "headline": headline(ab.comparisons, heading),
        "sides": list(zip(sides_of(heading), (words(heading.base), words(heading.head)), strict=True)),
        "about": " · ".join(words(text) for text in (common, heading.method) if text),
        "remarks": [words(text) for text in (*([f"UNFIT: {heading.unfit}"] if heading.unfit else []), *heading.notes)],
        "scale": f"{math.expm1(scale) * 100:.0f}",
        "tolerate": place(math.log1p(tolerate), scale) if isinstance(tolerate, float) else None,
        "rows": [_row(c, cell, scale) for c, cell in zip(comparisons, names, strict=True)],
        "notes": [note] if note else [],
    }


def _reach(comparison: Comparison) -> float:
    """Return how far a verdict's interval reaches, up to a doubling: dots may be arrows, but the interval is shown."""
    ends = [abs(end) for end in (comparison.low, comparison.high) if end is not None]
    return min(max(ends, default=0.0), math.log(2))


def _row(c: Comparison, cell: str, scale: float) -> dict[str, Any]:
    has_interval = c.low is not None and c.high is not None
    return {
        "cell": name(cell),
        "base": seconds_text(c.base),
        "head": seconds_text(c.head),
        "change": change(c.shift),
        "interval": f"{change(c.low)} to {change(c.high)}" if has_interval else "-",
        "sees": percent_of(c.minimum_detectable),
        "p": "-" if c.p_adjusted is None else f"{c.p_adjusted:.3f}",
        "verdict": c.verdict.value,
        "tone": _TONES[c.verdict],
        "why": [words(text) for text in (reason_text(c), *fact_lines(c))],
        "strip": None if c.shift is None else _strip(c, c.shift, scale),
    }


def _strip(c: Comparison, shift: float, scale: float) -> dict[str, Any]:
    """Place a comparison on a line from -scale to +scale, in percent of the width; values outside are at the edge."""
    sessions = ", ".join(map(change, c.session_shifts))
    interval = f", interval {change(c.low)} to {change(c.high)} %" if c.low is not None and c.high is not None else ""
    return {
        "dots": [place(shift, scale) for shift in c.session_shifts],
        "low": None if c.low is None else place(c.low, scale),
        "high": None if c.high is None else place(c.high, scale),
        "shift": place(shift, scale),
        "label": f"change {change(shift)} %{interval}; sessions: {sessions or 'none'}",
    }
