"""Cells under the roof of their device, and their utilization (MFU), if `bench machine peaks` measured it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.core.peaks import Peak
from bench.core.units import format_bytes, format_count
from bench.report.html.contract import ReportData, Row, Section
from bench.report.html.groups import legend_of
from bench.report.html.lines import Chart, Point, Series, line_chart, logarithmic
from bench.stats.summary import Placement
from bench.tables.columns import figure_column
from bench.tables.document import Rows
from bench.tables.figures import first, name, percent, significant
from bench.tables.table import Column

_MOST_POINTS = 1_000
_MOST_ROWS = 200


def build(data: ReportData) -> Mapping[str, Any] | None:
    """Make one chart per device, and a table with the share of its roof that each cell reaches."""
    found = [row for row in data.rows if row.summary.roofline and row.summary.roofline.flops_per_second]
    exact = [row for row in found if row.record.counters.flops and not row.record.counters.flops.is_lower_bound]
    if not exact:
        return None
    shown, note = first(exact, _MOST_POINTS, "cells")
    devices = dict.fromkeys((row.run, row.record.cell.device) for row in shown)
    left_out = len(found) - len(exact)
    bounds = f"{left_out} cells are left out, because their FLOPs are only a lower bound." if left_out else ""
    in_table, table_note = first(shown, _MOST_ROWS, "cells in the table")
    return {
        "charts": [
            _chart(device, [row for row in shown if (row.run, row.record.cell.device) == (run, device)])
            for run, device in devices
        ],
        "legend": legend_of(data, shown),
        "table": _table(in_table),
        "peaks": list(dict.fromkeys(_peak_text(row) for row in shown)),
        "notes": [text for text in (note, table_note, bounds) if text],
    }


SECTION = Section(anchor="roofline", title="Roofline and utilization", build=build)


def _placed(row: Row) -> tuple[Placement, Peak]:
    assert row.summary.roofline is not None
    assert row.record.peak is not None
    return row.summary.roofline, row.record.peak


def _chart(device: str, rows: Sequence[Row]) -> Chart:
    placed = [_placed(row) for row in rows]
    low = min(placement.intensity for placement, _ in placed)
    high = max(max(placement.intensity, peak.ridge or 0.0) for placement, peak in placed)
    precisions = dict.fromkeys(row.record.cell.precision for row in rows)
    roofs, marks = [], []
    for precision in precisions:
        own = [row for row in rows if row.record.cell.precision is precision]
        color = precision.row.color
        roofs.append(
            Series(
                name=f"roof {precision.value}",
                points=_roof(_placed(own[0])[1], low / 3, high * 3),
                color=color,
                has_marks=False,
            )
        )
        marks.append(Series(name=precision.value, points=tuple(map(_point, own)), color=color, has_line=False))
    return line_chart(
        [*roofs, *marks],
        title=name(device),
        label=f"Roofline of {name(device)}: FLOP/s against FLOPs per byte of {len(rows)} cells",
        x_label="FLOPs per byte touched",
        y_label="FLOP/s",
        x=logarithmic,
        y=logarithmic,
    )


def _roof(peak: Peak, low: float, high: float) -> tuple[Point, ...]:
    """Draw the roof: the slope, the ridge and the flat part."""
    assert peak.flops_per_second is not None
    assert peak.bytes_per_second is not None
    ridge = peak.flops_per_second / peak.bytes_per_second
    corners = [(low, low * peak.bytes_per_second), (ridge, peak.flops_per_second), (high, peak.flops_per_second)]
    return tuple(Point(x=x, y=y) for x, y in corners)


def _point(row: Row) -> Point:
    placement, _ = _placed(row)
    reached = placement.flops_per_second or 0.0
    text = f"{name(row.record.cell.id)}: {format_count(reached, 'FLOP/s')}, {percent(placement.fraction)} % of its roof"
    return Point(x=placement.intensity, y=reached, text=text)


def _peak_text(row: Row) -> str:
    _, peak = _placed(row)
    flops, moved = format_count(peak.flops_per_second, "FLOP/s"), format_bytes(peak.bytes_per_second)
    device = name(row.record.cell.device)
    return f"{device} in {peak.arithmetic.value}: {flops} and {moved}/s, measured {name(peak.measured_at)}"


def _table(rows: Sequence[Row]) -> Rows:
    placements = [_placed(row)[0] for row in rows]
    columns = [
        Column(name="cell", cells=tuple(name(row.record.cell.id) for row in rows), right=False),
        Column(name="FLOPs", unit="/byte", cells=tuple(significant(p.intensity) for p in placements)),
        Column(name="FLOP/s", cells=tuple(format_count(p.flops_per_second) for p in placements)),
        Column(name="bound by", cells=tuple(p.bound.value for p in placements), right=False),
        Column(name="of its roof", unit="%", cells=tuple(percent(p.fraction) for p in placements)),
        *figure_column("MFU", [row.summary.mfu for row in rows], 0, lambda f: significant(f * 100, 2), unit="%"),
        *figure_column(
            "of the data sheet",
            [row.summary.documented_mfu for row in rows],
            0,
            lambda f: significant(f * 100, 2),
            unit="%",
        ),
    ]
    return Rows(columns=columns, caption="Share of the roof that each cell reaches")
