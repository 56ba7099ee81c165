"""Cells under the roof of their device, and their utilization (MFU); only where peaks are known (`RunData.roofs`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.core.cell import Precision
from bench.core.units import format_count
from bench.report.figures import percent, significant
from bench.report.html.axes import logarithmic
from bench.report.html.contract import ReportData, Roof, Row, Section
from bench.report.html.groups import PRECISION_COLORS
from bench.report.html.limits import first, name
from bench.report.html.lines import Chart, Point, Series, line_chart
from bench.report.html.tables import Table, make_table
from bench.report.layout import Column

_MOST_POINTS = 1_000
_MOST_ROWS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class _Placed:
    row: Row
    roof: Roof
    intensity: float
    flops_per_second: float
    attainable: float

    @property
    def mfu(self) -> float:
        return self.flops_per_second / (self.roof.flops_per_second or 1.0)


def build(data: ReportData) -> Mapping[str, Any] | None:
    """Make one chart per device, and a table of what share of the roof each cell reaches."""
    placed = [one for row in data.rows if (one := _place(data, row)) is not None]
    if not placed:
        return None
    shown, note = first(placed, _MOST_POINTS, "cells")
    devices = list(dict.fromkeys(one.row.record.cell.device for one in shown))
    precisions = list(dict.fromkeys(one.row.record.cell.precision for one in shown))
    return {
        "charts": [_chart(device, [p for p in shown if p.row.record.cell.device == device]) for device in devices],
        "legend": [{"name": p.value, "color": PRECISION_COLORS[p], "dash": 0} for p in precisions],
        "table": _table(shown[:_MOST_ROWS]),
        "sources": list(dict.fromkeys(name(one.roof.source) for one in shown if one.roof.source)),
        "notes": [note] if note else [],
    }


SECTION = Section(anchor="roofline", title="Roofline and utilization", build=build)


def _place(data: ReportData, row: Row) -> _Placed | None:
    cell, counters = row.record.cell, row.record.counters
    reached, flops = row.summary.flops_per_second, row.summary.flops_total
    roof = next((r for r in data.runs[row.run].roofs if (r.device, r.precision) == (cell.device, cell.precision)), None)
    if (
        not reached
        or not flops
        or not counters.bytes_touched
        or counters.flops is None
        or counters.flops.is_lower_bound
    ):
        return None
    if roof is None or not roof.flops_per_second or not roof.bytes_per_second:
        return None
    intensity = flops / counters.bytes_touched
    return _Placed(
        row=row,
        roof=roof,
        intensity=intensity,
        flops_per_second=reached,
        attainable=min(roof.flops_per_second, intensity * roof.bytes_per_second),
    )


def _chart(device: str, placed: Sequence[_Placed]) -> Chart:
    by_precision: dict[Precision, list[_Placed]] = {}
    for one in placed:
        by_precision.setdefault(one.row.record.cell.precision, []).append(one)
    low = min(one.intensity for one in placed)
    high = max(*(one.intensity for one in placed), *(_ridge(one.roof) for one in placed))
    roofs = [_roof_line(ones[0].roof, low / 3, high * 3, PRECISION_COLORS[p]) for p, ones in by_precision.items()]
    marks = [
        Series(name=p.value, points=tuple(map(_point, ones)), color=PRECISION_COLORS[p], has_line=False)
        for p, ones in by_precision.items()
    ]
    return line_chart(
        [*roofs, *marks],
        title=name(device),
        label=f"Roofline of {name(device)}: FLOP/s against FLOPs per byte of {len(placed)} cells",
        x_label="FLOPs per byte touched",
        y_label="FLOP/s",
        x=logarithmic,
        y=logarithmic,
    )


def _ridge(roof: Roof) -> float:
    assert roof.flops_per_second and roof.bytes_per_second
    return roof.flops_per_second / roof.bytes_per_second


def _roof_line(roof: Roof, low: float, high: float, color: int) -> Series:
    assert roof.flops_per_second and roof.bytes_per_second
    corners = [
        (low, low * roof.bytes_per_second),
        (_ridge(roof), roof.flops_per_second),
        (high, roof.flops_per_second),
    ]
    text = f"{roof.precision.value}: {format_count(roof.flops_per_second, 'FLOP/s')}"
    points = tuple(Point(x=x, y=y, text=text) for x, y in corners)
    return Series(name=f"roof {roof.precision.value}", points=points, color=color, has_marks=False)


def _point(one: _Placed) -> Point:
    cell = one.row.record.cell
    share = percent(one.flops_per_second / one.attainable)
    text = f"{name(cell.id)}: {format_count(one.flops_per_second, 'FLOP/s')}, {share} % of its roof"
    return Point(x=one.intensity, y=one.flops_per_second, text=text)


def _table(placed: Sequence[_Placed]) -> Table:
    columns = [
        Column(header="cell", cells=tuple(name(p.row.record.cell.id) for p in placed), right=False),
        Column(header="FLOPs /byte", cells=tuple(significant(p.intensity) for p in placed)),
        Column(header="FLOP/s", cells=tuple(format_count(p.flops_per_second) for p in placed)),
        Column(
            header="bound by",
            cells=tuple("compute" if p.intensity >= _ridge(p.roof) else "memory" for p in placed),
            right=False,
        ),
        Column(header="of its roof %", cells=tuple(percent(p.flops_per_second / p.attainable) for p in placed)),
        Column(header="MFU %", cells=tuple(percent(p.mfu) for p in placed)),
    ]
    return make_table(columns, caption="Share of the roof that each cell reaches")
