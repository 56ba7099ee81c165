"""Stacked bars, one per row: parts of a whole in a fixed order, from left to right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_NARROWEST_BAR, _CHARACTER, _PADDING = 160, 6.2, 5
"""Pixels: width of a bar on a small page, of a character in it, and around a text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part of a bar.

    Attributes:
        value: Value in the unit of the bar's scale.
        text: Its figure, written inside if it fits.
    """

    name: str
    color: int
    value: float
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One bar.

    Attributes:
        names: One text per key column.
        parts: Parts from left to right.
        mark: A value shown as a tick across the bar; None is none.
        mark_text: What the tick says.
        figures: Texts right of the bar, one per figure column.
    """

    names: tuple[str, ...]
    parts: tuple[Part, ...]
    mark: float | None = None
    mark_text: str = ""
    figures: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedPart:
    """A part, in percent of the width; `text` is empty if it does not fit."""

    name: str
    color: int
    x: float
    width: float
    text: str
    full: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedBar:
    """A bar, in percent of the width; `label` is what a screen reader says."""

    names: tuple[str, ...]
    parts: tuple[PlacedPart, ...]
    mark: float | None
    mark_text: str
    figures: tuple[str, ...]
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BarGroup:
    """Bars on one scale under a heading.

    Attributes:
        rule: Percent of the width at which a line stands across all bars, for example at the whole step.
    """

    title: str
    bars: tuple[PlacedBar, ...]
    rule: float | None = None


def bar_group(title: str, bars: Sequence[Bar], *, whole: float | None = None) -> BarGroup:
    """Lay bars out on one scale that holds the longest, and their marks.

    Args:
        title: Heading.
        bars: Bars, at least one.
        whole: A value at which a rule stands across all bars.
    """
    longest = max(
        (v for bar in bars for v in (sum(part.value for part in bar.parts), bar.mark or 0.0, whole or 0.0)), default=0.0
    )
    scale = 100 / longest if longest > 0 else 0.0
    return BarGroup(
        title=title,
        bars=tuple(_placed(bar, scale) for bar in bars),
        rule=whole * scale if whole else None,
    )


def _placed(bar: Bar, scale: float) -> PlacedBar:
    placed, x = [], 0.0
    for part in bar.parts:
        width = part.value * scale
        room = width / 100 * _NARROWEST_BAR
        shown = part.text if room >= len(part.text) * _CHARACTER + _PADDING else ""
        full = f"{part.name} {part.text}".strip()
        placed.append(PlacedPart(name=part.name, color=part.color, x=x, width=width, text=shown, full=full))
        x += width
    label = ", ".join(part.full for part in placed)
    return PlacedBar(
        names=bar.names,
        parts=tuple(placed),
        mark=None if bar.mark is None else bar.mark * scale,
        mark_text=bar.mark_text,
        figures=bar.figures,
        label=f"{label}; {bar.mark_text}" if bar.mark_text else label,
    )
