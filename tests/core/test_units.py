"""Units are printed once, here, and what was printed can be read again."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bench.core.units import (
    counted,
    format_bytes,
    format_clock,
    format_count,
    format_seconds,
    listed,
    parse_bytes,
    parse_seconds,
    significant,
)

FORMATTED = [
    (format_seconds(0.0123), "12.3 ms"),
    (format_seconds(1.0), "1.00 s"),
    (format_seconds(90.0), "90.0 s"),
    (format_seconds(4.56e-5), "45.6 µs"),
    (format_seconds(7e-9), "7.00 ns"),
    (format_seconds(0.0), "0 s"),
    (format_seconds(None), "-"),
    (format_bytes(0), "0 B"),
    (format_bytes(36.4 * 1024**2), "36.4 MiB"),
    (format_bytes(1024), "1.00 KiB"),
    (format_bytes(None), "-"),
    (format_seconds(0.9996), "1.00 s"),
    (format_seconds(9.996e-4), "1.00 ms"),
    (format_bytes(1024**2 - 1), "1.00 MiB"),
    (format_seconds(-0.0123), "-12.3 ms"),
    (format_count(999), "999"),
    (format_count(1_240_000_000, "FLOP"), "1.24 GFLOP"),
    (format_count(12, "steps"), "12.0 steps"),
    (format_count(999_999), "1.00 M"),
    (format_count(None), "-"),
]


@pytest.mark.parametrize(("found", "expected"), FORMATTED)
def test_formats(found: str, expected: str) -> None:
    assert found == expected


PARSED_BYTES = {
    "24GiB": 24 * 1024**3,
    "512 MB": 512_000_000,
    "1024": 1024,
    "1kB": 1000,
    "1KB": 1000,
    "1.5 KiB": 1536,
    " 2TiB ": 2 * 1024**4,
}
PARSED_SECONDS = {
    "90": 90.0,
    "90s": 90.0,
    "20m": 1200.0,
    "1.5h": 5400.0,
    "250ms": 0.25,
    "3 us": 3e-6,
    "3µs": 3e-6,
    "2d": 172800.0,
}


@pytest.mark.parametrize(("text", "expected"), PARSED_BYTES.items())
def test_sizes_are_read(text: str, expected: int) -> None:
    assert parse_bytes(text) == expected


@pytest.mark.parametrize(("text", "expected"), PARSED_SECONDS.items())
def test_durations_are_read(text: str, expected: float) -> None:
    assert parse_seconds(text) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("text", ["", "GiB", "-1", "1 parsec", "1.2.3", "nan", "inf", "1 GiB x"])
def test_what_is_no_quantity_is_named_in_one_line(text: str) -> None:
    for parse, example_unit in ((parse_bytes, "24GiB"), (parse_seconds, "90s")):
        with pytest.raises(ValueError) as caught:
            parse(text)
        message = str(caught.value)
        assert repr(text) in message
        assert example_unit in message
        assert "\n" not in message


def test_one_has_no_plural() -> None:
    assert [counted(n, "cell") for n in (0, 1, 36_000)] == ["0 cells", "1 cell", "36,000 cells"]


@pytest.mark.parametrize(
    ("most", "words"), [(1, "a and 2 more"), (2, "a, b and 1 more"), (3, "a, b, c"), (4, "a, b, c")]
)
def test_more_names_than_there_is_room_for_are_counted(most, words):
    assert listed(("a", "b", "c"), most) == words


@given(st.floats(min_value=1e-9, max_value=1e6))
@example(0.9999999)
@example(999.5e-6)
def test_a_printed_duration_reads_as_nearly_the_same(seconds: float) -> None:
    assert parse_seconds(format_seconds(seconds)) == pytest.approx(seconds, rel=5.1e-3)


@given(st.integers(min_value=0, max_value=1024**6 - 1))
@example(1023)
@example(1024**5 - 1)
@example(1152)  # printed as 1.12 KiB, read as whole bytes: half a digit and a part of a byte
def test_a_printed_size_reads_as_nearly_the_same(count: int) -> None:
    assert parse_bytes(format_bytes(count)) == pytest.approx(count, rel=0, abs=5.1e-3 * count + 1)


@given(st.floats(min_value=1e-9, max_value=1e6), st.integers(min_value=2, max_value=6))
def test_digits_are_significant_figures(value: float, digits: int) -> None:
    assert math.isclose(float(significant(value, digits)), value, rel_tol=0.51 * 10 ** (1 - digits))


@given(st.floats(min_value=1e-9, max_value=1e6))
@example(0.9999999)
@example(9.996e-4)
def test_no_duration_prints_a_thousand_of_a_smaller_unit(seconds: float) -> None:
    number, unit = format_seconds(seconds).split()
    assert unit == "s" or float(number) < 1000


@given(st.integers(min_value=0, max_value=1024**6 - 1))
@example(1024**2 - 1)
def test_no_size_prints_1024_of_a_smaller_unit(count: int) -> None:
    number, unit = format_bytes(count).split()
    assert unit == "PiB" or float(number) < 1024


@given(st.integers(min_value=0, max_value=10**20))
@example(999_999)
def test_no_count_prints_a_thousand_of_a_smaller_prefix(count: int) -> None:
    number, _, prefix = format_count(count).partition(" ")
    assert prefix == "E" or float(number) < 1000


def test_another_day_than_today_is_named() -> None:
    now = datetime.now().astimezone()
    noon = now.replace(hour=12, minute=5)
    assert format_clock(noon.astimezone(UTC)) == "12:05"
    later = noon + timedelta(days=2)
    assert format_clock(later.astimezone(UTC)) == f"{later:%Y-%m-%d} 12:05"
