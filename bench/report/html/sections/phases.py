"""Where a step's time goes: one stacked bar per cell, in shares of the unsplit step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.core.record import Phase
from bench.report.html.bars import Bar, Part, bar_group
from bench.report.html.contract import ReportData, Row, Section
from bench.report.html.groups import grouped, phase_colors, run_names
from bench.tables.figures import first, percent, seconds_text

_MOST_GROUPS = 24
_MOST_BARS = 16


def build(data: ReportData) -> Mapping[str, Any] | None:
    """Make a group of bars per model."""
    groups, note = first(
        grouped(data, lambda row: bool(row.summary.phases and row.summary.step)), _MOST_GROUPS, "models"
    )
    if not groups:
        return None
    runs = run_names(data)
    colors = phase_colors(phase for group in groups for row in group.rows for phase, _ in row.summary.phases)
    keys = ["batch", "precision", *(["run"] if any(runs) else [])]
    cut = any(len(group.rows) > _MOST_BARS for group in groups)
    notes = [note, f"At most {_MOST_BARS} cells of a model are shown." if cut else ""]
    return {
        "keys": keys,
        "groups": [
            bar_group(group.title, [_bar(row, runs, colors) for row in group.rows[:_MOST_BARS]], whole=1.0)
            for group in groups
        ],
        "legend": [{"name": str(phase), "color": color, "dash": 0} for phase, color in colors.items()],
        "notes": [*filter(None, notes), "All others are in the table of cells."] if any(notes) else [],
    }


SECTION = Section(anchor="phases", title="Phases of a step", build=build)


def _bar(row: Row, runs: list[str], colors: Mapping[Phase | str, int]) -> Bar:
    cell, summary = row.record.cell, row.summary
    assert summary.step is not None
    whole = summary.step.point or 1.0
    gap = summary.residual_fraction
    names = (str(cell.batch_size), cell.precision.value, *([runs[row.run]] if any(runs) else []))
    return Bar(
        names=names,
        parts=tuple(
            Part(
                name=str(phase),
                color=colors[phase],
                value=estimate.point / whole,
                text=percent(estimate.point / whole),
            )
            for phase, estimate in summary.phases
        ),
        figures=(seconds_text(summary.step), "-" if gap is None else f"{round(gap * 100):+d} %"),
    )
