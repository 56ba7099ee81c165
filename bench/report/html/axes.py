"""Scales and their ticks: values to pixels, linear or logarithmic, with round numbers at the ticks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bench.core.units import format_count

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
