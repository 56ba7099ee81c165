"""Stored runs side by side: what changed enough to be worth `bench ab`. Nominations, never verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.core.comparison import Nominated
from bench.report.html.contract import ReportData, Section
from bench.tables.comparison import WHY_NOT, change
from bench.tables.figures import first, name, significant, time_unit, words
from bench.tables.table import Column, make_table

_MOST = 100


def build(data: ReportData) -> Mapping[str, Any] | None:
    """Show each pair of runs, the largest changes first."""
    if not data.nominated:
        return None
    return {"why_not": WHY_NOT, "pairs": [_shown(pair) for pair in data.nominated]}


SECTION = Section(anchor="nominated", title="Changes between runs", build=build)


def _shown(pair: Nominated) -> dict[str, Any]:
    ordered = sorted(pair.nominations, key=lambda n: (not n.is_suspect, -abs(n.shift or 0.0)))
    rows, note = first(ordered, _MOST, "cells")
    scale, unit = time_unit([s for n in rows for s in (n.base, n.head) if s is not None]) or (1.0, "s")

    def seconds(value: float | None) -> str:
        return "-" if value is None else significant(value / scale)

    columns = [
        Column(name="cell", cells=tuple(name(n.cell_id) for n in rows), right=False),
        Column(name="base", unit=unit, cells=tuple(seconds(n.base) for n in rows)),
        Column(name="head", unit=unit, cells=tuple(seconds(n.head) for n in rows)),
        Column(name="change", unit="%", cells=tuple(change(n.shift) for n in rows)),
        Column(
            name="remark",
            cells=tuple(words(n.missing) or ("suspect" if n.is_suspect else "") for n in rows),
            right=False,
        ),
    ]
    suspects = sum(n.is_suspect for n in pair.nominations)
    return {
        "base": name(pair.base),
        "head": name(pair.head),
        "refused": words(pair.refused),
        "summary": f"{suspects} of {len(pair.nominations)} cells nominated",
        "remarks": [words(text) for text in pair.notes],
        "commands": [words(command) for command in pair.commands[:20]],
        "table": make_table(
            columns,
            caption="Median step of the two runs",
            marks={row: "doubt" for row, n in enumerate(rows) if n.is_suspect or n.missing},
        )
        if rows
        else None,
        "notes": [note] if note else [],
    }
