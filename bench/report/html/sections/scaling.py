"""Latency and throughput against the batch size, one line per precision, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.core.estimate import Estimate
from bench.core.units import format_count
from bench.report.html.contract import ReportData, Row, Section
from bench.report.html.groups import (
    Group,
    dash_of,
    grouped,
    legend_of,
    run_names,
    series_name,
    series_of,
)
from bench.report.html.lines import Chart, Point, Series, doubling, line_chart, linear
from bench.tables.cells import figure_columns
from bench.tables.document import Rows
from bench.tables.figures import count_unit, first, seconds_text, time_unit
from bench.tables.table import Column

_MOST_GROUPS = 16
_SHOWN = ("step", "examples")
_MOST_ROWS = 400


def build(data: ReportData) -> Mapping[str, Any] | None:
    """Make two charts per model that was measured at three batch sizes or more, and one table of their figures.

    Two points are no curve; the table of cells shows them better.
    """
    found = [
        group
        for group in grouped(data, lambda row: row.summary.examples_per_second is not None)
        if len({row.record.cell.batch_size for row in group.rows}) > 2
    ]
    groups, note = first(found, _MOST_GROUPS, "models")
    if not groups:
        return None
    rows = [row for group in groups for row in group.rows]
    _, table_note = first(rows, _MOST_ROWS, "cells in this table")
    return {
        "panels": [
            {"title": group.title, "charts": [_latency(data, group), _throughput(data, group)]} for group in groups
        ],
        "legend": legend_of(data, rows),
        "table": _table(data, groups),
        "notes": [f"{text} All are in the table of cells." for text in (note, table_note) if text],
    }


SECTION = Section(anchor="scaling", title="Latency and throughput by batch size", build=build)


def _latency(data: ReportData, group: Group) -> Chart:
    scale, unit = time_unit([row.summary.step.point for row in group.rows if row.summary.step]) or (1.0, "s")

    def point(row: Row, step: Estimate) -> Point:
        low, high = (None, None) if step.low is None or step.high is None else (step.low / scale, step.high / scale)
        text = f"{_what(data, row)}: {seconds_text(step)} per step"
        return Point(x=row.record.cell.batch_size, y=step.point / scale, low=low, high=high, text=text)

    return _chart(data, group, f"latency, {unit} per step", point)


def _throughput(data: ReportData, group: Group) -> Chart:
    rates = [row.summary.examples_per_second or 0.0 for row in group.rows]
    scale, prefix = count_unit(rates) or (1.0, "")

    def point(row: Row, step: Estimate) -> Point:
        rate = (row.summary.examples_per_second or 0.0) / scale
        work = rate * step.point
        low, high = (None, None) if not step.low or not step.high else (work / step.high, work / step.low)
        text = f"{_what(data, row)}: {format_count(row.summary.examples_per_second)} examples/s"
        return Point(x=row.record.cell.batch_size, y=rate, low=low, high=high, text=text)

    return _chart(data, group, f"throughput, {prefix + ' ' if prefix else ''}examples/s", point)


def _chart(data: ReportData, group: Group, y_label: str, point: Any) -> Chart:
    series = [
        Series(
            name=series_name(data, run, precision),
            points=tuple(point(row, row.summary.step) for row in rows if row.summary.step and row.summary.step.point),
            color=precision.row.color,
            dash=dash_of(data, run),
        )
        for (run, precision), rows in series_of(group.rows).items()
    ]
    kind = y_label.partition(",")[0]
    return line_chart(
        [one for one in series if one.points],
        title=y_label,
        label=f"{group.title}: {kind} against batch size; the figures are in the table of this section",
        x_label="batch size",
        y_label="",
        x=doubling,
        y=linear,
    )


def _what(data: ReportData, row: Row) -> str:
    return f"{series_name(data, row.run, row.record.cell.precision)}, batch {row.record.cell.batch_size}"


def _table(data: ReportData, groups: Sequence[Group]) -> Rows:
    pairs = [(group.title, row) for group in groups for row in group.rows][:_MOST_ROWS]
    rows = [row for _, row in pairs]
    runs = run_names(data)
    columns = [
        Column(name="model", cells=tuple(title for title, _ in pairs), right=False),
        *([Column(name="run", cells=tuple(runs[r.run] for r in rows), right=False)] if any(runs) else []),
        Column(name="batch", cells=tuple(str(r.record.cell.batch_size) for r in rows)),
        Column(name="precision", cells=tuple(r.record.cell.precision.value for r in rows), right=False),
        *(c for c in figure_columns([r.record for r in rows], [r.summary for r in rows]) if c.name in _SHOWN),
    ]
    return Rows(columns=columns, caption="Latency and throughput of all charts")
