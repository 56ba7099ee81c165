"""A series in a terminal: one line of blocks, or a plot of a few lines; both never stretch noise to a drama.

The scale spans the values, but at least a tenth of their median: 1 % of noise stays nearly flat.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Collection, Sequence

_BLOCKS = "▁▂▃▄▅▆▇█"
_ASCII_BLOCKS = "_.-=+*%#"
_LEAST_RANGE = 0.10

Values = Sequence[float | None]


def sparkline(values: Values, width: int = 24, *, unicode: bool = True) -> str:
    """Draw a series as one line, newest right; where there are more values than columns, by their medians."""
    blocks = _BLOCKS if unicode else _ASCII_BLOCKS
    binned = [_median(part) for part in _bins(values, width)]
    span = scale_of(binned)
    if span is None:
        return ""
    low, high = span
    levels = [None if v is None else round((v - low) / (high - low) * (len(blocks) - 1)) for v in binned]
    return "".join(" " if level is None else blocks[level] for level in levels)


def plot(
    values: Values,
    labels: tuple[str, str],
    *,
    width: int = 60,
    height: int = 8,
    marks: Collection[int] = (),
    unicode: bool = True,
) -> list[str]:
    """Draw a series as a plot, one point per column.

    Args:
        values: Oldest first.
        labels: Of the upper and the lower end of the scale, written left of the axis.
        width: Columns in all.
        height: Lines.
        marks: Indexes before which a vertical line stands.
        unicode: Whether the stream takes signs beyond ASCII.

    Returns:
        Lines, the axis last; none where there is no value.
    """
    dot, tick, edge, corner, floor, bar = "•┤│└─┊" if unicode else "*+|+-:"
    room = max(map(len, labels)) + 2
    columns = max(width - room, 8)
    bins = _bins(values, columns)
    binned = [_median(part) for part in bins]
    span = scale_of(binned)
    if span is None:
        return []
    low, high = span
    grid = [[" "] * len(binned) for _ in range(height)]
    for index in marks:
        place = index * len(binned) // max(len(values), 1)
        for line in grid:
            line[min(place, len(binned) - 1)] = bar
    for column, value in enumerate(binned):
        if value is not None:
            grid[height - 1 - round((value - low) / (high - low) * (height - 1))][column] = dot
    lines = []
    for row, line in enumerate(grid):
        label = labels[0] if row == 0 else labels[1] if row == height - 1 else ""
        lines.append(f"{label:>{room - 2}} {tick if label else edge}{''.join(line)}".rstrip())
    return [*lines, " " * (room - 1) + corner + floor * len(binned)]


def scale_of(values: Values) -> tuple[float, float] | None:
    """Choose the ends of the scale; None where there is no value."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    low, high = min(known), max(known)
    missing = max(_LEAST_RANGE * abs(statistics.median(known)) - (high - low), 0.0)
    low, high = low - missing / 2, high + missing / 2
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _bins(values: Values, count: int) -> list[Values]:
    if len(values) <= count:
        return [[value] for value in values]
    edges = [index * len(values) // count for index in range(count + 1)]
    return [values[begin:end] for begin, end in itertools.pairwise(edges)]


def _median(values: Values) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None
