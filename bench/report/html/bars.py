"""Stacked bars, one per row: parts of a whole in a fixed order, from left to right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

_NARROWEST_BAR, _CHARACTER, _PADDING = 160, 6.2, 5
"""Pixels: width of a bar on a small page, of a character in it, and around a text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part of a bar.

    Attributes:
        value: Value in the unit of the bar's scale.
        text: Its figure.
        x: Percent of the width, set by `bar_group`; the same for `width`.
    """

    name: str
    color: int
    value: float
    text: str = ""
    x: float = 0.0
    width: float = 0.0

    @property
    def inside(self) -> str:
        """The figure, if it fits into the part."""
        return self.text if self.width / 100 * _NARROWEST_BAR >= len(self.text) * _CHARACTER + _PADDING else ""

    @property
    def full(self) -> str:
        """The name with the figure."""
        return f"{self.name} {self.text}".strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One bar.

    Attributes:
        names: One text per key column.
        parts: Parts from left to right.
        mark: A value shown as a tick across the bar, by `bar_group` in percent of the width; None is none.
        mark_text: What the tick says.
        figures: Texts right of the bar, one per figure column.
    """

    names: tuple[str, ...]
    parts: tuple[Part, ...]
    mark: float | None = None
    mark_text: str = ""
    figures: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The bar for a screen reader."""
        return "; ".join(filter(None, (", ".join(part.full for part in self.parts), self.mark_text)))


@dataclass(frozen=True, slots=True, kw_only=True)
class BarGroup:
    """Bars on one scale under a heading.

    Attributes:
        rule: Percent of the width at which a line stands across all bars, for example at the whole step.
    """

    title: str
    bars: tuple[Bar, ...]
    rule: float | None = None


def bar_group(title: str, bars: Sequence[Bar], *, whole: float | None = None) -> BarGroup:
    """Lay bars out on one scale that holds the longest, and their marks; a rule stands across all bars at `whole`."""
    longest = max(
        (v for bar in bars for v in (sum(part.value for part in bar.parts), bar.mark or 0.0, whole or 0.0)), default=0.0
    )
    scale = 100 / longest if longest > 0 else 0.0
    return BarGroup(
        title=title,
        bars=tuple(_placed(bar, scale) for bar in bars),
        rule=whole * scale if whole else None,
    )


def _placed(bar: Bar, scale: float) -> Bar:
    ends = [0.0, *accumulate(part.value * scale for part in bar.parts)]
    parts = (replace(part, x=x, width=part.value * scale) for part, x in zip(bar.parts, ends, strict=False))
    return replace(bar, parts=tuple(parts), mark=None if bar.mark is None else bar.mark * scale)
