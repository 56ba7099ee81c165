"""Line charts and scatter plots: values to positions on a small canvas; `macros.html` draws them as SVG.

There is no charting library: such a chart is some kilobytes instead of the 4.6 MB of Plotly in each run's folder,
prints sharply, needs no script, and its positions can be tested without a browser.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.report.html.axes import Scale

WIDTH, HEIGHT = 290, 192
LEFT, RIGHT, TOP, BOTTOM = 44, 12, 10, 38
_FARTHEST = 1.6
"""How far an interval stretches the scale, as a multiple of the highest point."""

_NOTE_WIDTH, _NOTE_HEIGHT = 20, 11
"""Pixels that a note takes: one that would overlap another is left out; its figure is in the table."""

MakeScale = Callable[[Sequence[float], float, float], Scale]


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One value of a series.

    Attributes:
        low: Lower end of its interval on the y axis; None if there is none.
        text: Text of the tooltip, figures with units.
        note: Written beside the mark; mostly empty.
    """

    x: float
    y: float
    low: float | None = None
    high: float | None = None
    text: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Points of one kind.

    Attributes:
        color: 0 to 7, of the colour-blind-safe palette; each also has its own shape.
        dash: 0 is a full line, 1 dashed, 2 dotted.
        has_line: Joins its points in the order given.
        has_marks: Shows its points.
    """

    name: str
    points: tuple[Point, ...]
    color: int = 0
    dash: int = 0
    has_line: bool = True
    has_marks: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedPoint:
    """A point on the canvas, in pixels."""

    x: float
    y: float
    low: float | None
    high: float | None
    text: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedSeries:
    """A series on the canvas; `path` is its line, empty if it has none."""

    name: str
    color: int
    dash: int
    path: str
    marks: tuple[PlacedPoint, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """One panel, ready to be drawn.

    Attributes:
        title: Above the panel.
        label: Text for screen readers: the chart in one sentence. Its figures are in the section's table.
        x_ticks: Pixel and label; the same for `y_ticks`.
    """

    title: str
    label: str
    x_label: str
    y_label: str
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    series: tuple[PlacedSeries, ...]
    width: int = WIDTH
    height: int = HEIGHT
    left: float = LEFT
    right: float = WIDTH - RIGHT
    top: float = TOP
    bottom: float = HEIGHT - BOTTOM


def line_chart(
    series: Sequence[Series], *, title: str, label: str, x_label: str, y_label: str, x: MakeScale, y: MakeScale
) -> Chart:
    """Lay series out on one canvas.

    Args:
        series: Series with at least one point in all.
        title: Above the panel.
        label: The chart in one sentence, for screen readers.
        x_label: Name and unit of the axis.
        y_label: Name and unit of the axis.
        x: Makes the scale from all values and two pixels: `axes.linear`, `axes.logarithmic` or `axes.doubling`.
        y: The same for the other axis.
    """
    points = [point for one in series for point in one.points]
    across = x([point.x for point in points], LEFT, WIDTH - RIGHT)
    # An interval may reach far beyond all points; it is then cut at the edge, or it would press them all to the axis.
    reach = _FARTHEST * max(point.y for point in points)
    heights = [value for point in points for value in (point.y, point.low, point.high) if value is not None]
    up = y([min(value, reach) for value in heights], HEIGHT - BOTTOM, TOP)
    noted: list[tuple[float, float]] = []
    return Chart(
        title=title,
        label=label,
        x_label=x_label,
        y_label=y_label,
        x_ticks=tuple((across.place(value), text) for value, text in across.ticks),
        y_ticks=tuple((up.place(value), text) for value, text in up.ticks),
        series=tuple(_placed(one, across, up, noted) for one in series),
    )


def _placed(series: Series, across: Scale, up: Scale, noted: list[tuple[float, float]]) -> PlacedSeries:
    """Place a series; `noted` are the places of all notes so far."""
    marks: list[PlacedPoint] = []
    for point in series.points:
        x, y = across.place(point.x), up.place(point.y)
        note = point.note if series.has_marks else ""
        if note and any(abs(x - left) < _NOTE_WIDTH and abs(y - top) < _NOTE_HEIGHT for left, top in noted):
            note = ""
        noted += [(x, y)] if note else []
        marks.append(
            PlacedPoint(
                x=x,
                y=y,
                low=None if point.low is None else up.place(point.low),
                high=None if point.high is None else up.place(point.high),
                text=point.text,
                note=note,
            )
        )
    path = " ".join(f"{'M' if index == 0 else 'L'}{m.x:.1f} {m.y:.1f}" for index, m in enumerate(marks))
    return PlacedSeries(
        name=series.name,
        color=series.color,
        dash=series.dash,
        path=path if series.has_line and len(marks) > 1 else "",
        marks=tuple(marks) if series.has_marks else (),
    )
