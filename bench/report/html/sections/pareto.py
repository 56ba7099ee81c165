"""Throughput against memory: the cells that no other cell beats in both, per model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.core.units import format_bytes, format_count
from bench.report.html.contract import ReportData, Row, Section
from bench.report.html.groups import Group, grouped, legend_of, series_name, series_of
from bench.report.html.lines import Chart, Point, Series, line_chart, linear
from bench.tables.cell_values import peak_bytes
from bench.tables.document import Rows
from bench.tables.figures import byte_unit, count_unit, first
from bench.tables.table import Column

_MOST_GROUPS = 16
_FEWEST = 3
_MOST_ROWS = 200


def build(data: ReportData) -> Mapping[str, Any] | None:
    """Make one chart per model with three cells or more, and a table of the cells on the fronts."""
    placed = grouped(data, lambda row: bool(_bytes(row) and _rate(row)))
    found = [group for group in placed if len(group.rows) >= _FEWEST]
    groups, note = first(found, _MOST_GROUPS, "models")
    if not groups:
        return None
    return {
        "charts": [_chart(data, group) for group in groups],
        "legend": legend_of(data, [row for group in groups for row in group.rows]),
        "table": _table(groups),
        "notes": [f"{note} All are in the table of cells."] if note else [],
    }


SECTION = Section(anchor="pareto", title="Throughput and memory", build=build)


def front(rows: Sequence[Row]) -> list[Row]:
    """Return the rows that no other row beats in throughput and memory, by growing memory.

    More memory is only worth it with more throughput, so along the front both grow.
    """
    best: list[Row] = []
    for row in sorted(rows, key=lambda row: (_bytes(row), -_rate(row))):
        if not best or _rate(row) > _rate(best[-1]):
            best.append(row)
    return best


def _bytes(row: Row) -> float:
    return float(peak_bytes(row.record)[0] or 0)


def _rate(row: Row) -> float:
    return row.summary.examples_per_second or 0.0


def _chart(data: ReportData, group: Group) -> Chart:
    scale, unit = byte_unit([_bytes(row) for row in group.rows]) or (1.0, "B")
    per, prefix = count_unit([_rate(row) for row in group.rows]) or (1.0, "")
    best = front(group.rows)

    def point(row: Row) -> Point:
        cell = row.record.cell
        mark = peak_bytes(row.record)[1]
        text = (
            f"{series_name(data, row.run, cell.precision)}, batch {cell.batch_size}: {format_count(_rate(row))} "
            f"examples/s, {mark}{format_bytes(_bytes(row))}"
        )
        note = f"b{cell.batch_size}" if row in best else ""
        return Point(x=_bytes(row) / scale, y=_rate(row) / per, text=text, note=note)

    marks = [
        Series(
            name=series_name(data, run, precision),
            points=tuple(map(point, rows)),
            color=precision.row.color,
            has_line=False,
        )
        for (run, precision), rows in series_of(group.rows).items()
    ]
    line = Series(name="front", points=tuple(map(point, best)), color=7, dash=1, has_marks=False)
    return line_chart(
        [line, *marks],
        title=group.title,
        label=f"{group.title}: throughput against peak memory; {len(best)} of {len(group.rows)} cells are on the front",
        x_label=f"peak memory, {unit}",
        y_label=f"{prefix + ' ' if prefix else ''}examples/s",
        x=linear,
        y=linear,
    )


def _table(groups: Sequence[Group]) -> Rows:
    pairs = [(group.title, row) for group in groups for row in front(group.rows)][:_MOST_ROWS]
    rows = [row for _, row in pairs]
    peaks = [peak_bytes(row.record) for row in rows]
    columns = [
        Column(name="model", cells=tuple(title for title, _ in pairs), right=False),
        Column(name="batch", cells=tuple(str(row.record.cell.batch_size) for row in rows)),
        Column(name="precision", cells=tuple(row.record.cell.precision.value for row in rows), right=False),
        Column(name="examples", unit="/s", cells=tuple(format_count(_rate(row)) for row in rows)),
        Column(name="peak", cells=tuple(f"{mark}{format_bytes(value)}" for value, mark in peaks)),
    ]
    return Rows(columns=columns, caption="Cells on the fronts: no other cell of the model is better in both")
