"""Stacked bars, one per row: parts of a whole in a fixed order, from left to right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

_NARROWEST_BAR, _ON_A_PHONE, _CHARACTER, _PADDING = 160, 80, 6.2, 5
"""Pixels: width of a bar on a small page, on a phone's, of a character in it, and around a text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part of a bar.

    Attributes:
        value: Value in the unit of the bar's scale.
        text: Its figure.
        x: Percent of the width, set by `bar_group`; the same for `width`.
        line: Where a tick or a rule crosses the part, in the same percent; None is nowhere.
    """

    name: str
    color: int
    value: float
    text: str = ""
    x: float = 0.0
    width: float = 0.0
    line: float | None = None

    @property
    def inside(self) -> str:
        """The figure, if it fits into the part and no line crosses it."""
        return self.text if self._fits(_NARROWEST_BAR) else ""

    @property
    def is_tight(self) -> bool:
        """Whether the figure does not fit on a phone."""
        return not self._fits(_ON_A_PHONE)

    def _fits(self, bar: float) -> bool:
        needed = (len(self.text) * _CHARACTER + _PADDING) / bar * 100
        is_crossed = self.line is not None and abs(self.line - self.x - self.width / 2) < needed / 2
        return self.width >= needed and not is_crossed

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
        bars=tuple(_placed(bar, scale, whole) for bar in bars),
        rule=whole * scale if whole else None,
    )


def _placed(bar: Bar, scale: float, whole: float | None) -> Bar:
    ends = [0.0, *accumulate(part.value * scale for part in bar.parts)]
    lines = [value * scale for value in (bar.mark, whole) if value is not None]
    parts = []
    for part, x in zip(bar.parts, ends, strict=False):
        middle = x + part.value * scale / 2
        line = min(lines, key=lambda at: abs(at - middle), default=None)
        parts.append(replace(part, x=x, width=part.value * scale, line=line))
    return replace(bar, parts=tuple(parts), mark=None if bar.mark is None else bar.mark * scale)
