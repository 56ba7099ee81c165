"""A trend as SVG: points with their intervals, accepted changes as dashed lines; no script, colours by CSS classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from bench.core.history import HistoryPoint, Trend
from bench.report.figures import plain, significant
from bench.report.history import unit_of
from bench.report.sparkline import scale_of

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
