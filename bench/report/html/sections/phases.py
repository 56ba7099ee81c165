"""Where a step's time goes: one stacked bar per cell in milliseconds, and (folded) its shares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.core.record import Phase
from bench.core.units import counted
from bench.report.html.bars import Bar, BarGroup, Part, bar_group
from bench.report.html.contract import ReportData, Row, Section
from bench.report.html.groups import Group, bar_groups, bar_keys, bar_names, phase_colors, run_names
from bench.stats.summary import NONSENSE_GAP
from bench.tables.cell_values import phase_share
from bench.tables.document import Rows
from bench.tables.figures import duration, percent, seconds_text, significant, time_unit
from bench.tables.table import Column


def build(data: ReportData) -> Mapping[str, Any] | None:
    """Make a group of bars per model."""
    groups, notes = bar_groups(data, lambda row: bool(row.summary.phases and row.summary.step))
    if not groups:
        return None
    apart = sum(row.summary.phase_sum_seconds is not None and not row.summary.phases for row in data.rows)
    if apart:
        limit = f"{NONSENSE_GAP * 100:.0f} %"
        notes = [*notes, f"Left out: {counted(apart, 'cell')} whose phases are more than {limit} off the whole step."]
    runs = run_names(data)
    colors = phase_colors(phase for group in groups for row in group.rows for phase, _ in row.summary.phases)
    return {
        "keys": bar_keys(runs),
        "groups": [_group(group, runs, colors) for group in groups],
        "legend": [{"name": str(phase), "color": color, "dash": 0} for phase, color in colors.items()],
        "shares": _shares(groups, runs, list(colors)),
        "notes": notes,
    }


SECTION = Section(anchor="phases", title="Phases of a step", build=build)


def _group(group: Group, runs: list[str], colors: Mapping[Phase | str, int]) -> BarGroup:
    """Lay the bars of a model out on one scale of time, so that a shorter bar is a faster cell."""
    steps = [row.summary.step.point for row in group.rows if row.summary.step]
    unit = time_unit(steps) or (1.0, "s")
    return bar_group(f"{group.title}, {unit[1]}", [_bar(row, runs, colors, unit) for row in group.rows])


def _bar(row: Row, runs: list[str], colors: Mapping[Phase | str, int], unit: tuple[float, str]) -> Bar:
    step = row.summary.step
    assert step is not None
    return Bar(
        names=bar_names(row, runs),
        parts=tuple(
            Part(
                name=str(phase),
                color=colors[phase],
                value=seconds,
                text=significant(seconds / unit[0]),
            )
            for phase, seconds in row.summary.phases
        ),
        mark=step.point,
        mark_text=f"whole step {duration(step.point)}",
        figures=(seconds_text(step), _gap(row)),
    )


def _gap(row: Row) -> str:
    gap = row.summary.residual_fraction
    return "-" if gap is None else f"{round(gap * 100):+d} %"


def _shares(groups: Sequence[Group], runs: list[str], phases: Sequence[Phase | str]) -> Rows:
    """Write each phase in percent of the unsplit step."""
    pairs = [(group.title, row) for group in groups for row in group.rows]
    named = zip(*(bar_names(row, runs) for _, row in pairs), strict=True)

    columns = [
        Column(name="model", cells=tuple(title for title, _ in pairs), right=False),
        *(
            Column(name=key, cells=tuple(cells), right=key == "batch")
            for key, cells in zip(bar_keys(runs), named, strict=True)
        ),
        *(
            Column(name=str(p), unit="%", cells=tuple(percent(phase_share(row.summary, p)) for _, row in pairs))
            for p in phases
        ),
        Column(name="gap", cells=tuple(_gap(row) for _, row in pairs)),
    ]
    return Rows(columns=columns, caption="Shares of the step as measured whole")
