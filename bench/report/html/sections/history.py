"""Trends of the run's cells over the commits, one small chart per cell; and the page of `bench history show -o`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from bench.core.history import HistoryNomination, HistoryPoint, Trend
from bench.report.html.contract import ReportData, Section, make_data
from bench.report.html.lines import Chart, Point, Series, line_chart, linear
from bench.report.html.page import render
from bench.tables.document import Rows, page_text, spanned
from bench.tables.figures import first, name, significant, words
from bench.tables.history import WHY_NO_VERDICT, level_change, nominations_document, points_rows, unit_of
from bench.tables.table import Column, Page

_MOST = 24
_MOST_ROWS = 400
_NEWEST = 30


def build(data: ReportData) -> Mapping[str, Any] | None:
    """Show the trends, the largest changes first."""
    drawable = [trend for trend in data.trends if sum(point.value is not None for point in trend.points) > 1]
    ordered = sorted(drawable, key=lambda trend: -abs(level_change(trend) or 0.0))
    trends, note = first(ordered, _MOST, "cells")
    if not trends:
        return None
    return {
        "charts": [_chart(trend) for trend in trends],
        "table": _table(ordered[:_MOST_ROWS]),
        "nominated": "",
        "tables": [],
        "accepted": _accepted(trends),
        "notes": [f"{note} 'bench history show' has all."] if note else [],
    }


SECTION = Section(anchor="history", title="History", build=build)


def _chart(trend: Trend) -> Chart:
    values = [point.value for point in trend.points if point.value is not None]
    scale, unit = unit_of(trend.metric, values)
    marked = {mark.index for mark in trend.accepted}
    points = tuple(
        Point(
            x=index,
            y=point.value / scale,
            low=None if point.low is None else point.low / scale,
            high=None if point.high is None else point.high / scale,
            text=_text(point, scale, unit),
            note="accepted" if index in marked else "",
        )
        for index, point in enumerate(trend.points)
        if point.value is not None
    )
    title = name(trend.cell_id)
    return line_chart(
        [Series(name=trend.metric, points=points)],
        title=title,
        label=f"{title}: {trend.metric} of the newest {len(points)} measurements on one machine, newest right",
        x_label="measurement, newest right",
        y_label=unit,
        x=linear,
        y=linear,
    )


def _text(point: HistoryPoint, scale: float, unit: str) -> str:
    commit = f"{name(point.commit[:12])}{' and uncommitted changes' if point.is_dirty else ''}" if point.commit else ""
    value = f"{significant((point.value or 0.0) / scale)} {unit}"
    return ", ".join(filter(None, (value, point.started_at[:16].replace("T", " "), commit)))


def _table(trends: Sequence[Trend]) -> Rows:
    newest = [next(p for p in reversed(trend.points) if p.value is not None) for trend in trends]
    scale, unit = unit_of(trends[0].metric, [p.value for p in newest if p.value is not None])
    changes = [level_change(trend) for trend in trends]
    columns = [
        Column(name="cell", cells=tuple(name(trend.cell_id) for trend in trends), right=False),
        Column(name="measurements", cells=tuple(f"{trend.count:,}" for trend in trends)),
        Column(name="newest", unit=unit, cells=tuple(significant((p.value or 0.0) / scale) for p in newest)),
        Column(
            name="change", unit="%", cells=tuple("-" if ratio is None else f"{ratio * 100:+.1f}" for ratio in changes)
        ),
        Column(name="commit", cells=tuple(name((p.commit or "-")[:12]) for p in newest), right=False),
    ]
    caption = "Newest value against the median before it, since the last accepted change"
    return Rows(columns=columns, caption=caption)


def trend_page(trends: Sequence[Trend], nominations: Sequence[HistoryNomination] = ()) -> str:
    """Write the page of `bench history show -o`: a chart and the newest points of every trend, all of one metric."""
    nominated = page_text(nominations_document(nominations, len(trends)), Page(width=100)) if nominations else ""

    def build(data: ReportData) -> Mapping[str, Any]:
        measured = [trend for trend in data.trends if any(point.value is not None for point in trend.points)]
        return {
            "nominated": nominated,
            "charts": [_chart(trend) for trend in measured],
            "table": None,
            "tables": [_points(trend) for trend in data.trends],
            "accepted": _accepted(data.trends),
            "notes": [WHY_NO_VERDICT],
        }

    section = Section(anchor="history", title="History", build=build)
    return render(replace(make_data(()), trends=tuple(trends)), sections=(section,), title="Benchmark history")


def _points(trend: Trend) -> Rows:
    scale, unit = unit_of(trend.metric, [point.value for point in trend.points if point.value is not None])
    columns = spanned(points_rows(trend, _NEWEST, scale, unit), "html")
    ratio = level_change(trend)
    words = [f"{name(trend.cell_id)}: {trend.metric} on {name(trend.machine)} ({trend.fingerprint})"]
    words.append(f"the newest {len(trend.points):,} of {trend.count:,} measurements")
    words += [] if ratio is None else [f"newest against the median before: {ratio * 100:+.1f} %"]
    measured = any(point.value is not None for point in trend.points)
    return Rows(columns=columns, caption="; ".join(words) if measured else f"{words[0]}: nothing was measured")


def _accepted(trends: Sequence[Trend]) -> list[str]:
    return list(dict.fromkeys(words(f"{mark.commit}: {mark.reason}") for trend in trends for mark in trend.accepted))
