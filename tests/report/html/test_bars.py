from __future__ import annotations

import pytest

from bench.report.html.bars import Bar, Part, bar_group


def bar(*values: float, **more: object) -> Bar:
    parts = tuple(Part(name=f"p{n}", color=n, value=value, text=f"{value:g}") for n, value in enumerate(values))
    return Bar(names=("8",), parts=parts, **more)  # type: ignore[arg-type]


def test_parts_stand_side_by_side_on_the_scale_of_the_longest_bar() -> None:
    short, long = bar_group("t", [bar(1, 1), bar(3, 1)]).bars
    assert [(part.x, part.width) for part in short.parts] == [(0, 25), (25, 25)]
    assert [(part.x, part.width) for part in long.parts] == [(0, 75), (75, 25)]


def test_a_measured_mark_beyond_the_bar_widens_the_scale() -> None:
    (placed,) = bar_group("t", [bar(4, mark=8.0, mark_text="measured 8")]).bars
    assert placed.parts[0].width == 50
    assert placed.mark == 100
    assert placed.label == "p0 4; measured 8"


def test_phases_that_end_before_the_whole_leave_a_gap() -> None:
    group = bar_group("t", [bar(0.5, 0.3)], whole=1.0)
    assert group.rule == pytest.approx(100)
    assert sum(part.width for part in group.bars[0].parts) == pytest.approx(80)


def test_a_thin_part_has_no_text_in_it_but_is_still_said() -> None:
    (placed,) = bar_group("t", [bar(99, 1)]).bars
    assert [part.inside for part in placed.parts] == ["99", ""]
    assert placed.label == "p0 99, p1 1"


def test_a_text_in_a_bar_is_crossed_by_no_line() -> None:
    (placed,) = bar_group("t", [bar(50, 48, mark=75.0)]).bars
    assert [part.inside for part in placed.parts] == ["50", ""]
    (ruled,) = bar_group("t", [bar(50, 48)], whole=75.0).bars
    assert [part.inside for part in ruled.parts] == ["50", ""]


def test_a_text_that_does_not_fit_on_a_phone_is_known() -> None:
    (placed,) = bar_group("t", [bar(80, 20)]).bars
    assert [(part.inside, part.is_tight) for part in placed.parts] == [("80", False), ("20", True)]


def test_a_bar_of_nothing_has_no_width() -> None:
    (placed,) = bar_group("t", [bar(0.0)]).bars
    assert placed.parts[0].width == 0
