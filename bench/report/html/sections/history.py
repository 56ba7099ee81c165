"""How the run's cells went over the commits: one small chart per cell, those that moved most first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.core.history import HistoryPoint, Trend
from bench.report.figures import significant
from bench.report.history import level_change, unit_of
from bench.report.html.axes import linear
from bench.report.html.contract import ReportData, Section
from bench.report.html.limits import first, name, words
from bench.report.html.lines import Chart, Point, Series, line_chart
from bench.report.html.tables import Table, make_table
from bench.report.layout import Column

EXTRA = "history"
"""Key in `RunData.extras` of a tuple of `Trend`."""

_MOST = 24
_MOST_ROWS = 400


def build(data: ReportData) -> Mapping[str, Any] | None:
    """Show the trends that runs bring, the largest changes first."""
    found: list[Trend] = [trend for run in data.runs for trend in run.extras.get(EXTRA, ())]
    drawable = [trend for trend in found if sum(point.value is not None for point in trend.points) > 1]
    ordered = sorted(drawable, key=lambda trend: -abs(level_change(trend) or 0.0))
    trends, note = first(ordered, _MOST, "cells")
    if not trends:
        return None
    return {
        "charts": [_chart(trend) for trend in trends],
        "table": _table(ordered[:_MOST_ROWS]),
        "accepted": list(
            dict.fromkeys(words(f"{mark.commit}: {mark.reason}") for trend in trends for mark in trend.accepted)
        ),
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


def _table(trends: Sequence[Trend]) -> Table:
    newest = [next(p for p in reversed(trend.points) if p.value is not None) for trend in trends]
    scale, unit = unit_of(trends[0].metric, [p.value for p in newest if p.value is not None])
    changes = [level_change(trend) for trend in trends]
    columns = [
        Column(header="cell", cells=tuple(name(trend.cell_id) for trend in trends), right=False),
        Column(header="measurements", cells=tuple(f"{trend.count:,}" for trend in trends)),
        Column(header=f"newest {unit}", cells=tuple(significant((p.value or 0.0) / scale) for p in newest)),
        Column(header="change %", cells=tuple("-" if ratio is None else f"{ratio * 100:+.1f}" for ratio in changes)),
        Column(header="commit", cells=tuple(name((p.commit or "-")[:12]) for p in newest), right=False),
    ]
    return make_table(columns, caption="Newest value against the median before it, since the last accepted change")
