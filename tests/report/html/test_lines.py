from __future__ import annotations

import pytest

from bench.report.html.lines import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Point, Series, line_chart, linear


def chart(*series: Series):
    return line_chart(series, title="t", label="l", x_label="x", y_label="y", x=linear, y=linear)


def test_corners_lie_on_the_corners_of_the_canvas() -> None:
    placed = chart(Series(name="a", points=(Point(x=0, y=0), Point(x=4, y=8))))
    first, last = placed.series[0].marks
    assert (first.x, first.y) == (LEFT, HEIGHT - BOTTOM)
    assert (last.x, last.y) == (WIDTH - RIGHT, TOP)
    assert placed.series[0].path == f"M{first.x:.1f} {first.y:.1f} L{last.x:.1f} {last.y:.1f}"


def test_an_interval_is_within_the_canvas_and_around_its_point() -> None:
    placed = chart(Series(name="a", points=(Point(x=1, y=5, low=3, high=7),)))
    (mark,) = placed.series[0].marks
    assert mark.low is not None
    assert mark.high is not None
    assert mark.low > mark.y > mark.high >= TOP  # pixels grow downwards
    assert placed.series[0].path == ""  # one point makes no line


def test_an_interval_without_end_does_not_press_the_points_to_the_axis() -> None:
    placed = chart(Series(name="a", points=(Point(x=1, y=5, low=1, high=5000),)))
    (mark,) = placed.series[0].marks
    assert mark.high == TOP
    assert mark.y < (TOP + HEIGHT - BOTTOM) / 2 + 10


def test_series_share_their_scales() -> None:
    low, high = Series(name="a", points=(Point(x=1, y=1),)), Series(name="b", points=(Point(x=2, y=2),))
    alone, together = chart(low), chart(low, high)
    assert together.series[0].marks[0].y > alone.series[0].marks[0].y
    middle = (TOP + HEIGHT - BOTTOM) / 2
    assert together.series[0].marks[0].y == pytest.approx(middle)


def test_a_front_has_a_line_without_marks_and_a_cloud_marks_without_a_line() -> None:
    points = (Point(x=1, y=1), Point(x=2, y=2))
    line, cloud = chart(
        Series(name="line", points=points, has_marks=False), Series(name="cloud", points=points, has_line=False)
    ).series
    assert (bool(line.path), len(line.marks)) == (True, 0)
    assert (bool(cloud.path), len(cloud.marks)) == (False, 2)


def test_a_note_that_would_lie_on_another_is_left_out() -> None:
    points = (Point(x=1, y=1, note="b1"), Point(x=1.01, y=1.01, note="b2"), Point(x=4, y=4, note="b8"))
    hidden = Series(name="line", points=points, has_marks=False)
    _, cloud = chart(hidden, Series(name="cloud", points=points)).series
    assert [mark.note for mark in cloud.marks] == ["b1", "", "b8"]
