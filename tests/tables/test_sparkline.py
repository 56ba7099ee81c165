from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.tables.figures import ascii_only
from bench.tables.history import plot, scale_of, sparkline

VALUES = st.lists(st.none() | st.floats(-1e9, 1e9), max_size=80)


def test_a_ramp_uses_every_block_and_a_constant_one() -> None:
    assert sparkline([1, 2, 3, 4, 5, 6, 7, 8]) == "▁▂▃▄▅▆▇█"
    assert ascii_only(sparkline([1, 2, 3, 4, 5, 6, 7, 8])) == "_.-=+*%#"
    assert len(set(sparkline([3.0] * 9))) == 1


def test_one_percent_of_noise_stays_nearly_flat_and_a_fifth_does_not() -> None:
    noise = [100.0, 101.0, 99.5, 100.5, 100.0, 99.0]
    assert len(set(sparkline(noise))) <= 3
    assert {"▁", "█"} <= set(sparkline([*noise, 120.0]))


def test_what_was_not_measured_is_a_gap() -> None:
    assert sparkline([1.0, None, 2.0]) == "▁ █"
    assert sparkline([None, None]) == sparkline([]) == ""
    assert plot([None], ("a", "b")) == []


def test_many_values_are_drawn_by_their_medians() -> None:
    values = [1.0] * 50 + [2.0] * 50
    values[10] = 90.0  # one outlier is no level
    assert sparkline(values, 4) == "▁▁██"


def test_a_plot_has_its_scale_its_points_and_its_marks() -> None:
    lines = plot([1.0, 1.0, 2.0, 2.0], ("2 ms", "1 ms"), width=12, height=3, marks=[2])
    assert lines == ["2 ms ┤  ••", "     │  ┊", "1 ms ┤••┊", "     └────"]
    assert ascii_only(lines[0]) == "2 ms +  **"


def test_the_scale_is_at_least_a_tenth_of_the_median() -> None:
    assert scale_of([100.0, 101.0]) == pytest.approx((95.475, 105.525))
    assert scale_of([100.0, 150.0]) == (100.0, 150.0)
    assert scale_of([0.0, None]) == (-0.5, 0.5)
    assert scale_of([None]) is None


@given(VALUES, st.integers(1, 40))
def test_nothing_is_wider_than_it_may_be(values: list[float | None], width: int) -> None:
    assert len(sparkline(values, width)) <= width
    assert all(len(line) <= 30 for line in plot(values, ("top", "low"), width=30, marks=[0, len(values)]))
