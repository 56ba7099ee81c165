from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.report.html.lines import doubling, linear, logarithmic

POSITIVE = st.lists(st.floats(1e-9, 1e15), min_size=1, max_size=20)


@given(POSITIVE)
def test_a_linear_scale_begins_at_0_with_a_handful_of_round_ticks(values: list[float]) -> None:
    scale = linear(values, 100.0, 0.0)
    assert scale.ticks[0] == (0.0, "0")
    assert scale.high >= max(values) * (1 - 1e-9)
    assert 2 <= len(scale.ticks) <= 6
    assert scale.place(0) == 100
    assert scale.place(scale.high) == 0
    assert len({label for _, label in scale.ticks}) == len(scale.ticks)
    step = scale.ticks[1][0]
    assert f"{step:.0e}"[0] in "125"


def test_a_linear_scale_places_in_proportion() -> None:
    scale = linear([7.0], 0.0, 100.0)
    assert [value for value, _ in scale.ticks] == [0, 2, 4, 6, 8]
    assert scale.place(2.0) == pytest.approx(25.0)
    assert scale.place(6.0) == pytest.approx(75.0)


def test_ticks_have_the_decimals_that_they_need() -> None:
    assert [label for _, label in linear([0.07], 0, 1).ticks] == ["0", "0.02", "0.04", "0.06", "0.08"]
    assert [label for _, label in linear([81_000], 0, 1).ticks] == ["0", "50 k", "100 k"]


def test_nothing_but_zeros_is_no_reason_to_fail() -> None:
    assert linear([0.0], 0, 1).high > 0
    assert linear([], 0, 1).high > 0


@given(POSITIVE)
def test_a_logarithmic_scale_covers_whole_decades(values: list[float]) -> None:
    scale = logarithmic(values, 0.0, 1.0)
    assert scale.low <= min(values) * (1 + 1e-9)
    assert scale.high >= max(values) * (1 - 1e-9)
    assert 0 <= scale.place(values[0]) <= 1
    assert len(scale.ticks) <= 8


def test_a_decade_is_as_wide_as_any_other() -> None:
    scale = logarithmic([1, 1000], 0.0, 300.0)
    assert [scale.place(value) for value in (1, 10, 100, 1000)] == pytest.approx([0, 100, 200, 300])


def test_no_logarithm_of_zero() -> None:
    with pytest.raises(ValueError, match="positive"):
        logarithmic([1.0, 0.0], 0, 1)


def test_batch_sizes_are_spaced_by_their_ratios_each_with_its_tick() -> None:
    scale = doubling([8, 16, 32, 64], 0.0, 100.0)
    assert [label for _, label in scale.ticks] == ["8", "16", "32", "64"]
    places = [scale.place(value) for value in (8, 16, 32, 64)]
    assert [b - a for a, b in itertools.pairwise(places)] == pytest.approx([places[1] - places[0]] * 3)


def test_many_batch_sizes_share_ticks_and_the_largest_keeps_its_own() -> None:
    ticks = [label for _, label in doubling([2**power for power in range(12)], 0.0, 100.0).ticks]
    assert len(ticks) <= 6
    assert ticks[-1] == "2048"


def test_one_batch_size_stands_in_the_middle() -> None:
    assert doubling([8, 8], 0.0, 100.0).place(8) == pytest.approx(50.0)
