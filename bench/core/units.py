"""Units: SI inside, scaled once, here. Parsing what people type, printing what people read."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

TIMES = ((1e-9, "ns"), (1e-6, "µs"), (1e-3, "ms"), (1.0, "s"))
BYTES = tuple((1024**power, unit) for power, unit in enumerate(("B", "KiB", "MiB", "GiB", "TiB", "PiB")))
COUNTS = tuple((1000**power, prefix) for power, prefix in enumerate(("", "k", "M", "G", "T", "P", "E")))
_BYTES_PER_UNIT = {
    **{unit: scale for scale, unit in BYTES},
    **{f"{prefix}B": scale for scale, prefix in COUNTS},
    "KB": 1000,
}
_SECONDS_PER_UNIT = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "min": 60.0,
    "h": 3600.0,
    "d": 86_400.0,
    "w": 604_800.0,
}
_QUANTITY = re.compile(r"\s*([0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)\s*([A-Za-zµ]*)\s*")


def format_seconds(seconds: float | None) -> str:
    """Print a duration with the fitting prefix: `12.3 ms`; `-` for None."""
    if seconds is None:
        return "-"
    return _scaled(seconds, TIMES, 1000, 3) if seconds else "0 s"


def format_duration(seconds: float) -> str:
    """Write a duration as people say it: `45 s`, `3 min 20 s`, `1 h 5 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def format_bytes(count: float | None) -> str:
    """Print a byte count with a binary prefix: `36.4 MiB`; `-` for None."""
    if count is None:
        return "-"
    return _scaled(count, BYTES, 1024, 3)


def format_count(count: float | None, unit: str = "", digits: int = 3) -> str:
    """Print a count with a decimal prefix: `1.24 G` + unit; `-` for None; below 1000 the number itself."""
    if count is None:
        return "-"
    return _scaled(count, [(scale, prefix + unit) for scale, prefix in COUNTS], 1000, digits)


def counted(count: int, noun: str, many: str = "") -> str:
    """Write `1 cell`, `36 cells`."""
    return f"{count:,} {noun if count == 1 else many or noun + 's'}"


def listed(names: Sequence[str], most: int) -> str:
    """Write `a, b, c`, and of more than `most` names the first: `a, b, c and 2 more`."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest:,} more" if rest > 0 else "")


def _scaled(value: float, scales: Sequence[tuple[float, str]], limit: int, digits: int) -> str:
    """Print in the largest unit that fits; one unit up where rounding reaches the limit: 999.9 k is 1.00 M."""
    index = max((index for index, (scale, _) in enumerate(scales) if abs(value) >= scale), default=0)
    number = significant(value / scales[index][0], digits)
    if abs(float(number)) >= limit and index + 1 < len(scales):
        index += 1
        number = significant(value / scales[index][0], digits)
    return f"{number} {scales[index][1]}".rstrip()


def known_sum(counts: Iterable[int | None]) -> int | None:
    """Add up the counts that are known; None where none is."""
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def significant(value: float, digits: int = 3) -> str:
    """Round to so many significant figures without an exponent: `0.0123`, `1.23`, `123`, `1234`."""
    if value == 0:
        return "0"
    if not math.isfinite(value):
        return f"{value:g}"
    exponent = int(f"{value:.{digits - 1}e}".partition("e")[2])  # of the rounded value: 0.9996 has that of 1.00
    return f"{value:.{max(0, digits - 1 - exponent)}f}"


def now() -> str:
    """Return the time as files hold it: UTC, ISO 8601, whole seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def format_clock(moment: datetime) -> str:
    """Format a moment as the local time of day; with the date if that is another day than today."""
    local = moment.astimezone()
    return f"{local:%H:%M}" if local.date() == datetime.now(UTC).astimezone().date() else f"{local:%Y-%m-%d %H:%M}"


def parse_bytes(text: str) -> int:
    """Read `24GiB`, `512 MB` or `1024` as bytes.

    Raises:
        ValueError: The text is not a size.
    """
    match = _QUANTITY.fullmatch(text)
    unit = match[2] or "B" if match else ""
    if match is None or unit not in _BYTES_PER_UNIT:
        raise ValueError(f"{text!r} is not a size; write for example 24GiB, 512MB or 1048576")
    return int(float(match[1]) * _BYTES_PER_UNIT[unit])


def parse_seconds(text: str) -> float:
    """Read `90`, `90s`, `20m`, `1.5h`, `30d` or `250ms` as seconds.

    Raises:
        ValueError: The text is not a duration.
    """
    match = _QUANTITY.fullmatch(text)
    unit = match[2] or "s" if match else ""
    if match is None or unit not in _SECONDS_PER_UNIT:
        raise ValueError(f"{text!r} is not a duration; write for example 90s, 20m or 250ms")
    return float(match[1]) * _SECONDS_PER_UNIT[unit]
