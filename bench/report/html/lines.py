"""Line charts and scatter plots: values to positions on a small canvas; `macros.html` draws them as SVG.

There is no charting library: such a chart is some kilobytes instead of the 4.6 MB of Plotly in each run's folder,
prints sharply, needs no script, and its positions can be tested without a browser.

Scales map values to pixels, linear or logarithmic, with round numbers at the ticks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from bench.core.units import format_count

WIDTH, HEIGHT = 290, 192
LEFT, RIGHT, TOP, BOTTOM = 44, 12, 10, 38
_FARTHEST = 1.6
"""How far an interval stretches the scale, as a multiple of the highest point."""

_NOTE_WIDTH, _NOTE_HEIGHT = 20, 11
"""Pixels that a note takes: one that would overlap another is left out; its figure is in the table."""

_STEPS = (1.0, 2.0, 5.0, 10.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """Maps values from `low` to `high` onto pixels from `start` to `end`.

    Attributes:
        ticks: Values with their labels, within the range.
        is_log: Whether positions go by the logarithm; all values are then positive.
    """

    low: float
    high: float
    start: float
    end: float
    ticks: tuple[tuple[float, str], ...]
    is_log: bool = False

    def place(self, value: float) -> float:
        """Return the pixel of a value; values outside are placed at the edge."""
        value = min(max(value, self.low), self.high)
        if self.is_log:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)


def linear(values: Sequence[float], start: float, end: float, *, ticks: int = 4) -> Scale:
    """Make a scale from 0 to a round number above all values: starting at 0 shows ratios truly."""
    top = max(values, default=0.0)
    if top <= 0:
        top = 1.0
    step = _round_up(top / ticks)
    count = math.ceil(top / step - 1e-9)
    at = [step * index for index in range(count + 1)]
    return Scale(low=0.0, high=at[-1], start=start, end=end, ticks=tuple((v, tick_label(v, step)) for v in at))


def logarithmic(values: Sequence[float], start: float, end: float) -> Scale:
    """Make a scale over whole decades; ticks at 1, and also at 2 and 5 if there are few.

    Raises:
        ValueError: No value, or one that is not positive.
    """
    if not values or min(values) <= 0:
        raise ValueError("a logarithmic scale needs positive values")
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)) - 1e-9)
    high = max(high, low + 1)
    stride = max(1, math.ceil((high - low) / 6))
    at = [10.0**power for power in range(low, high + 1, stride)]
    return Scale(
        low=10.0**low, high=10.0**high, start=start, end=end, ticks=tuple((v, _short(v)) for v in at), is_log=True
    )


def doubling(values: Sequence[float], start: float, end: float, *, most: int = 6) -> Scale:
    """Make a scale for batch sizes: logarithmic, with a tick at each value if they fit."""
    distinct = sorted(set(values))
    low, high = distinct[0], distinct[-1]
    if low == high:
        low, high = low / 2, high * 2
    margin = (high / low) ** 0.06
    stride = math.ceil(len(distinct) / most)
    shown = distinct[::-1][::stride][::-1]  # the largest always has its tick
    ticks = tuple((value, f"{value:g}") for value in shown)
    return Scale(low=low / margin, high=high * margin, start=start, end=end, ticks=ticks, is_log=True)


def tick_label(value: float, step: float) -> str:
    """Write a tick with as many decimals as the step between ticks needs."""
    if value == 0:
        return "0"
    if abs(value) >= 10_000:
        number, _, prefix = format_count(value, digits=6).partition(" ")
        return f"{float(number):g} {prefix}"
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return f"{value:.{decimals}f}"


def _short(value: float) -> str:
    if 0.001 <= value < 1000:
        return f"{value:g}"
    return format_count(value, digits=1) if value >= 1000 else f"{value:.0e}"


def _round_up(value: float) -> float:
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in _STEPS if step * power >= value * (1 - 1e-9))


MakeScale = Callable[[Sequence[float], float, float], Scale]


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One value of a series; in a chart its place, in pixels.

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

    @property
    def marks(self) -> tuple[Point, ...]:
        """The points that are shown."""
        return self.points if self.has_marks else ()

    @property
    def path(self) -> str:
        """The line through placed points, as SVG has it; empty if there is none."""
        points = self.points if self.has_line and len(self.points) > 1 else ()
        return " ".join(f"{'L' if index else 'M'}{point.x:.1f} {point.y:.1f}" for index, point in enumerate(points))


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
    series: tuple[Series, ...]
    width: int = WIDTH
    height: int = HEIGHT
    left: float = LEFT
    right: float = WIDTH - RIGHT
    top: float = TOP
    bottom: float = HEIGHT - BOTTOM


def line_chart(
    series: Sequence[Series], *, title: str, label: str, x_label: str, y_label: str, x: MakeScale, y: MakeScale
) -> Chart:
    """Lay series, with at least one point in all, out on one canvas; texts as in `Chart`.

    `x` and `y` make the scales from all values and two pixels: `linear`, `logarithmic` or `doubling`.
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


def _placed(series: Series, across: Scale, up: Scale, noted: list[tuple[float, float]]) -> Series:
    """Place a series; `noted` are the places of all notes so far."""
    points = []
    for point in series.points:
        x, y = across.place(point.x), up.place(point.y)
        low, high = (None if end is None else up.place(end) for end in (point.low, point.high))
        note = point.note if series.has_marks else ""
        if note and any(abs(x - left) < _NOTE_WIDTH and abs(y - top) < _NOTE_HEIGHT for left, top in noted):
            note = ""
        noted += [(x, y)] if note else []
        points.append(replace(point, x=x, y=y, low=low, high=high, note=note))
    return replace(series, points=tuple(points))
