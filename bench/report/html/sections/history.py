"""How the run's cells went over the commits: one small chart per cell, those that moved most first.

A trend as SVG: points with their intervals, accepted changes as dashed lines; no script, colours by CSS classes.

Trends as one HTML page: self-contained, no script, no network, light and dark, printable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from bench.core.history import HistoryNomination, HistoryPoint, Trend
from bench.report.html.axes import linear
from bench.report.html.contract import ReportData, Section
from bench.report.html.lines import Chart, Point, Series, line_chart
from bench.tables.document import page_text
from bench.tables.figures import first, name, plain, significant, words
from bench.tables.history import WHY_NO_VERDICT, level_change, nominations_document, scale_of, unit_of
from bench.tables.table import Column, Page, Table, make_table

_MOST = 24
_MOST_ROWS = 400


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
        Column(name="cell", cells=tuple(name(trend.cell_id) for trend in trends), right=False),
        Column(name="measurements", cells=tuple(f"{trend.count:,}" for trend in trends)),
        Column(name="newest", unit=unit, cells=tuple(significant((p.value or 0.0) / scale) for p in newest)),
        Column(
            name="change", unit="%", cells=tuple("-" if ratio is None else f"{ratio * 100:+.1f}" for ratio in changes)
        ),
        Column(name="commit", cells=tuple(name((p.commit or "-")[:12]) for p in newest), right=False),
    ]
    return make_table(columns, caption="Newest value against the median before it, since the last accepted change")


WIDTH, HEIGHT = 640, 180
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 12, 12, 24

STYLE = """
.trend { width: 100%; height: auto; font: 11px system-ui, sans-serif; }
.trend text { fill: currentColor; }
.trend .grid { stroke: currentColor; opacity: 0.2; }
.trend .path { stroke: #2563eb; fill: none; opacity: 0.45; }
.trend .interval { stroke: #2563eb; opacity: 0.6; }
.trend .point { fill: #2563eb; }
.trend .dirty { fill: none; stroke: #2563eb; }
.trend .failed { stroke: #dc2626; stroke-width: 2; }
.trend .accepted { stroke: #b45309; stroke-dasharray: 4 3; }
@media (prefers-color-scheme: dark) {
  .trend .path, .trend .interval, .trend .dirty { stroke: #7aa2ff; }
  .trend .point { fill: #7aa2ff; }
  .trend .failed { stroke: #f87171; }
  .trend .accepted { stroke: #fbbf24; }
}
"""


@dataclass(frozen=True, slots=True)
class _Frame:
    low: float
    high: float
    count: int

    def x(self, index: int) -> float:
        room = WIDTH - _LEFT - _RIGHT
        return _LEFT + room / 2 if self.count < 2 else _LEFT + room * index / (self.count - 1)

    def y(self, value: float) -> float:
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return HEIGHT - _BOTTOM - share * (HEIGHT - _TOP - _BOTTOM)


def trend_svg(trend: Trend) -> str:
    """Draw one trend; a figure without points says so. Every point tells its value, time and commit on hovering."""
    points = trend.points
    name = escape(f"{plain(trend.cell_id)}, {trend.metric}", quote=True)
    start = f'<svg class="trend" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{name}">'
    span = scale_of([value for p in points for value in (p.value, p.low, p.high)])
    if span is None:
        return f'{start}<text x="{WIDTH / 2}" y="{HEIGHT / 2}" text-anchor="middle">nothing was measured</text></svg>'
    frame = _Frame(*span, len(points))
    scale, unit = unit_of(trend.metric, [p.value for p in points if p.value is not None])
    parts = [start, *_axis(frame, scale, unit), *_dates(points, frame)]
    parts += [
        f'<line class="accepted" x1="{frame.x(m.index):.1f}" x2="{frame.x(m.index):.1f}" y1="{_TOP}" '
        f'y2="{HEIGHT - _BOTTOM}"><title>{escape(f"accepted at {m.commit}: {plain(m.reason)}")}</title></line>'
        for m in trend.accepted
    ]
    line = " ".join(f"{frame.x(i):.1f},{frame.y(p.value):.1f}" for i, p in enumerate(points) if p.value is not None)
    parts.append(f'<polyline class="path" points="{line}"/>')
    parts += [_point(p, index, frame, scale, unit) for index, p in enumerate(points)]
    return "".join([*parts, "</svg>"])


def _axis(frame: _Frame, scale: float, unit: str) -> list[str]:
    parts = []
    for share in (0.0, 0.5, 1.0):
        value = frame.low + share * (frame.high - frame.low)
        y = frame.y(value)
        label = escape(f"{significant(value / scale)} {unit}".strip())
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{label}</text>')
    return parts


def _dates(points: Sequence[HistoryPoint], frame: _Frame) -> list[str]:
    ends = [(0, "start"), (len(points) - 1, "end")] if len(points) > 1 else [(0, "middle")]
    return [
        f'<text x="{frame.x(index):.1f}" y="{HEIGHT - 6}" text-anchor="{anchor}">'
        f"{escape(points[index].started_at[:10])}</text>"
        for index, anchor in ends
    ]


def _point(point: HistoryPoint, index: int, frame: _Frame, scale: float, unit: str) -> str:
    x = frame.x(index)
    when = f"{point.started_at[:16]}, {point.commit[:12] if point.commit else 'no commit'}"
    when += ", uncommitted changes" if point.is_dirty else ""
    if point.value is None:
        title = escape(plain(f"{point.outcome}: {(point.reason or 'not measured')[:200]} ({when})"))
        y = float(HEIGHT - _BOTTOM)
        mark = f"M{x - 3:.1f} {y - 3}l6 6m0 -6l-6 6"
        return f'<path class="failed" d="{mark}"><title>{title}</title></path>'
    y = frame.y(point.value)
    title = escape(plain(f"{significant(point.value / scale, 4)} {unit} ({when})"))
    circle = f'<circle class="{"dirty" if point.is_dirty else "point"}" cx="{x:.1f}" cy="{y:.1f}" r="2.5">'
    interval = ""
    if point.low is not None and point.high is not None:
        ends = f'y1="{frame.y(point.low):.1f}" y2="{frame.y(point.high):.1f}"'
        interval = f'<line class="interval" x1="{x:.1f}" x2="{x:.1f}" {ends}/>'
    return f"{interval}{circle}<title>{title}</title></circle>"


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<link rel="icon" href="data:,">
<title>{{ title }}</title>
<style>
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 80rem; padding: 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1rem; margin: 0; overflow-wrap: anywhere; }
main { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 30rem), 1fr)); }
figure { border: 1px solid #8886; border-radius: 0.5rem; margin: 0; padding: 0.75rem; break-inside: avoid; }
figcaption, .quiet { font-size: 0.85rem; opacity: 0.8; overflow-wrap: anywhere; }
pre { overflow-x: auto; border: 1px solid #8886; border-radius: 0.5rem; padding: 0.75rem; }
table { border-collapse: collapse; font-size: 0.85rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.1rem 0.6rem 0.1rem 0; text-align: left; }
{{ style }}
</style>
</head>
<body>
<header>
<h1>{{ title }}</h1>
<p>{{ trends | length }} series of {{ metric }}. Hollow points had uncommitted changes; a cross is a cell that did not
end well; a dashed line is an accepted change.</p>
</header>
{% if nominated %}
<section aria-labelledby="nominations">
<h2 id="nominations">Nominations</h2>
<pre tabindex="0">{{ nominated }}</pre>
</section>
{% endif %}
<main>
{% for trend in trends %}
<figure>
<h2>{{ trend.name }}</h2>
{{ trend.svg }}
<figcaption>{{ trend.machine }}. {{ trend.words }}</figcaption>
{% for reason in trend.accepted %}<p class="quiet">{{ reason }}</p>{% endfor %}
<details>
<summary>{{ trend.rows | length }} points</summary>
<table>
<thead><tr><th scope="col">started</th><th scope="col">commit</th>
<th scope="col">{{ metric }}</th>
<th scope="col">outcome</th></tr></thead>
<tbody>
{% for row in trend.rows %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</tbody>
</table>
</details>
</figure>
{% endfor %}
</main>
<footer><p class="quiet">{{ why }}</p></footer>
</body>
</html>
"""

_ROWS = 30


def trend_page(
    trends: Sequence[Trend], nominations: Sequence[HistoryNomination] = (), *, title: str = "Benchmark history"
) -> str:
    """Write the page; the table below each picture holds its newest points.

    Args:
        trends: Of one metric.
        nominations: Of these series.
        title: Of the page.
    """
    import jinja2
    from markupsafe import Markup

    template = jinja2.Environment(autoescape=True).from_string(_PAGE)
    return template.render(
        title=plain(title),
        metric=trends[0].metric if trends else "",
        style=Markup(STYLE),  # ours
        nominated=page_text(nominations_document(nominations, len(trends)), Page(width=100)) if nominations else "",
        trends=[
            {
                "name": plain(trend.cell_id),
                "svg": Markup(trend_svg(trend)),  # escaped there
                "machine": f"{plain(trend.machine)} ({trend.fingerprint})",
                "words": _words(trend),
                "accepted": [f"Accepted at {mark.commit}: {plain(mark.reason)}" for mark in trend.accepted],
                "rows": [
                    (
                        point.started_at,
                        (point.commit or "-")[:12],
                        "-" if point.value is None else f"{point.value:.6g}",
                        point.outcome,
                    )
                    for point in trend.points[-_ROWS:]
                ],
            }
            for trend in trends
        ],
        why=WHY_NO_VERDICT,
    )


def _words(trend: Trend) -> str:
    ratio = level_change(trend)
    words = f"The newest {len(trend.points):,} of {trend.count:,} measurements."
    return words if ratio is None else f"{words} Newest against the median before: {ratio * 100:+.1f} %."
