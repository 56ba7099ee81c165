from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.tables.figures import (
    ascii_only,
    byte_unit,
    count_unit,
    display_width,
    is_unicode,
    percent,
    plain,
    shorten,
    significant,
    time_unit,
    with_noise,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.01234, "0.0123"),
        (1.234, "1.23"),
        (123.4, "123"),
        (12345, "12345"),
        (9.996, "10.0"),
        (0.09999, "0.100"),
    ],
)
def test_figures_are_rounded_to_three_without_an_exponent(value: float, text: str) -> None:
    assert significant(value) == text


@pytest.mark.parametrize(
    ("value", "half", "texts"),
    [
        (12.34, 0.41, ("12.3", "0.4")),
        (12.34, 0.12, ("12.34", "0.12")),  # a leading 1 keeps a second figure
        (158.2, 12.0, ("158", "12")),
        (158.2, 45.0, ("158", "45")),
        (0.7234, 0.05, ("0.72", "0.05")),
        (12.34, None, ("12.3", "")),
        (12.3456, 0.0, ("12.35", "0")),
        (12.3456, 1e-9, ("12.346", "0.001")),  # five figures at most, never ± 0
        (0.5, 3.0, ("0", "3")),  # only noise
        (0.0, 0.1, ("0", "")),
        (9.97, 0.0999, ("9.97", "0.10")),
    ],
)
def test_digits_stop_where_the_noise_begins(value: float, half: float | None, texts: tuple[str, str]) -> None:
    assert with_noise(value, half) == texts


@given(st.floats(1e-9, 1e9), st.floats(1e-12, 1e9))
def test_what_is_rounded_away_is_less_than_the_noise_shown(value: float, half: float) -> None:
    text, noise = with_noise(value, half)
    assert "e" not in text + noise
    assert float(noise) > 0
    assert abs(float(text) - value) <= float(noise) * 0.51
    decimals = [len(part.partition(".")[2]) for part in (text, noise)]
    assert decimals[0] == decimals[1]


def test_a_column_has_the_unit_of_its_middle() -> None:
    assert time_unit([0.0004, 0.02, 0.16]) == (1e-3, "ms")
    assert time_unit([5e-6, 90e-6]) == (1e-6, "µs")
    assert time_unit([2.0, 90.0]) == (1.0, "s")
    assert byte_unit([2.0**20, 2.0**30]) == (2.0**20, "MiB")
    assert count_unit([10.0, 500.0]) == (1.0, "")
    assert count_unit([2e9, 5e9]) == (1e9, "G")


def test_a_column_that_spans_too_much_has_no_common_unit() -> None:
    assert time_unit([1e-6, 100.0]) is None
    assert time_unit([]) is None
    assert time_unit([0.0]) is None
    assert time_unit([0.0, 0.001]) == (1e-3, "ms")


@pytest.mark.parametrize(
    ("fraction", "text"), [(None, "-"), (0.0, "0"), (0.001, "<1"), (0.3049, "30"), (1.04, "104"), (-0.02, "-2")]
)
def test_shares_are_whole_percent(fraction: float | None, text: str) -> None:
    assert percent(fraction) == text


def test_text_from_outside_becomes_one_printable_line() -> None:
    assert plain("a\nb\t c") == "a b c"
    assert plain("\x1b[31mred\x07") == "\\x1b[31mred\\x07"
    assert plain("user\u202egnp.exe \udcff") == "user\\u202egnp.exe \\udcff"
    assert plain("模型 ±") == "模型 ±"


@given(st.text())
def test_plain_text_has_no_control_characters(text: str) -> None:
    assert plain(text).isprintable()


@given(st.text(), st.integers(0, 30), st.booleans())
def test_a_shortened_text_fits_and_keeps_what_fits(text: str, width: int, middle: bool) -> None:
    text = plain(text)
    cut = shorten(text, width, middle=middle)
    assert display_width(cut) <= width
    assert cut == text or "…" in cut or width == 0


def test_names_are_cut_in_the_middle() -> None:
    assert shorten("torchvision:resnet18", 12, middle=True) == "torc…esnet18"
    assert shorten("a long reason", 7) == "a long…"
    assert shorten("模型模型", 5) == "模型…"


def test_ascii_has_words_for_our_signs() -> None:
    assert ascii_only("12 ± 3 µs ≥ 4 …") == "12 +- 3 us >= 4 .."
    assert ascii_only("模") == "\\u6a21"


def test_streams_say_whether_they_take_signs() -> None:
    assert all(map(is_unicode, ("utf-8", "UTF8", "utf_8")))
    assert not any(map(is_unicode, (None, "", "ascii", "latin-1", "cp1252")))
