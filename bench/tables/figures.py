"""Figures and phrases for people: digits that follow the noise, one unit per column, safe text of bounded length.

Long lists and texts are cut, and say what was left out.
"""

from __future__ import annotations

import math
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from enum import StrEnum
from functools import partial
from typing import TypeVar

from bench.core.estimate import Estimate
from bench.core.text import plain as plain
from bench.core.units import BYTES, COUNTS, TIMES, counted
from bench.core.units import significant as significant

_ASCII = str.maketrans(
    {"±": "+-", "µ": "u", "≥": ">=", "…": "..", "×": "x", "─": "-", "–": "-", "·": "|", "≈": "~"}
    | dict(zip("▁▂▃▄▅▆▇█•┤│└┊∙●‹›", "_.-=+*%#*+|+:.O<>", strict=True))  # of charts
)
_SMALLEST_SHOWN, _LARGEST_SHOWN = 0.01, 1e5


def ratio_text(ratio: float) -> str:
    """Write a ratio to three figures, but never 1.00 where it is not 1."""
    return significant(ratio) if abs(ratio - 1) >= 0.005 else f"1{ratio - 1:+.0e}"


def with_noise(value: float, half_width: float | None) -> tuple[str, str]:
    """Write a value and half of its interval; the digits stop where the noise begins.

    The half width gets one figure, or two if the first is a 1; the value the same decimals: 12.34, 0.41 ->
    (`12.3`, `0.4`). At most five figures of the value. Without an interval: three figures and an empty text.
    """
    if half_width is None or not value > 0:
        return significant(value), ""
    if half_width <= 0:
        return significant(value, 4), "0"
    magnitude = math.floor(math.log10(half_width))
    decimals = -magnitude + (1 if half_width / 10**magnitude < 1.95 else 0)
    decimals = max(0, min(decimals, 4 - math.floor(math.log10(value))))
    noise = max(round(half_width, decimals), 10.0**-decimals)  # never ± 0.0
    return f"{value:.{decimals}f}", f"{noise:.{decimals}f}"


def duration(seconds: float, half_width: float | None = None) -> str:
    """Write a duration and half of its interval in its own unit: `7.5 ± 0.6 ms`."""
    scale, unit = time_unit([seconds]) or (1.0, "s")
    value, noise = with_noise(seconds / scale, half_width / scale if half_width is not None else None)
    return f"{value} ± {noise} {unit}" if noise else f"{value} {unit}"


def _common_unit(values: Iterable[float], *, units: Sequence[tuple[float, str]]) -> tuple[float, str] | None:
    """Take the unit of the geometric mean, if no value is then too small or too long to read."""
    positive = [value for value in values if value > 0]
    if not positive:
        return None
    middle = math.exp(math.fsum(map(math.log, positive)) / len(positive))
    scale, name = next((unit for unit in reversed(units) if unit[0] <= middle), units[0])
    readable = min(positive) / scale >= _SMALLEST_SHOWN and max(positive) / scale < _LARGEST_SHOWN
    return (scale, name) if readable else None


time_unit = partial(_common_unit, units=TIMES)
"""Choose one unit for a column of durations as `(seconds per unit, name)`; None if no single one fits."""
byte_unit = partial(_common_unit, units=BYTES)
"""The same for byte counts: a binary unit."""
count_unit = partial(_common_unit, units=COUNTS)
"""The same for counts: a decimal prefix."""


def percent(fraction: float | None) -> str:
    """Write a share as whole percent without the sign; `<1` for a little, `-` for None."""
    if fraction is None:
        return "-"
    return "<1" if 0 < fraction < 0.005 else f"{fraction * 100:.0f}"


def ascii_only(text: str) -> str:
    """Write a text for a stream that knows only ASCII: `+-` for ±, `us` for µs, escapes for the rest."""
    return text.translate(_ASCII).encode("ascii", "backslashreplace").decode()


def is_unicode(encoding: str | None) -> bool:
    """Whether a stream of this encoding can write our signs (±, µ, ≥)."""
    return (encoding or "").lower().replace("-", "").replace("_", "") in {"utf8", "utf16", "utf32", "utf8sig"}


def display_width(text: str) -> int:
    """Count the terminal columns a text takes: wide characters two, combining ones none."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def shorten(text: str, width: int, *, middle: bool = False) -> str:
    """Cut a text to `width` terminal columns, with `…` at the end or, for names, in the middle."""
    if display_width(text) <= width:
        return text
    if width <= 1:
        return "…"[:width]
    tail = ""
    if middle:  # the end of a name says more than its beginning: `torchvis…resnet18`
        for char in reversed(text):
            if display_width(char + tail) > (width - 1) * 2 // 3:
                break
            tail = char + tail
    head = ""
    for char in text:
        if display_width(head + char) > width - 1 - display_width(tail):
            break
        head += char
    return f"{head}…{tail}"


T = TypeVar("T")

LONGEST_NAME = 160
LONGEST_TEXT = 1200


def first(items: Sequence[T], limit: int, what: str) -> tuple[tuple[T, ...], str]:
    """Return the first items, and a sentence on the rest: empty if there is none."""
    rest = len(items) - limit
    if rest <= 0:
        return tuple(items), ""
    return tuple(items[:limit]), f"The first {limit:,} of {len(items):,} {what} are shown."


def name(text: str) -> str:
    """Make a name from outside one printable line of bounded length."""
    return plain(text, LONGEST_NAME)


def words(text: str) -> str:
    """Make a text from outside one printable line of bounded length; says how long it was."""
    return plain(text, LONGEST_TEXT)


def seconds_text(estimate: Estimate | None) -> str:
    """Write a duration with half its interval in its own unit: `7.5 ± 0.6 ms`."""
    return "-" if estimate is None else duration(estimate.point, estimate.half_width)


def tally(noun: str, found: Iterable[StrEnum], order: Iterable[StrEnum]) -> str:
    """Count what was found: `36 cells: 34 ok, 2 skipped`."""
    counts = Counter(found)
    each = [f"{counts[one]:,} {one.value.replace('_', ' ')}" for one in order if counts[one]]
    return f"{counted(counts.total(), noun)}: {', '.join(each) or 'none'}"
