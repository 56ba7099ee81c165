from __future__ import annotations

from dataclasses import replace

from bench.report.html.contract import make_data
from bench.report.html.page import render
from bench.report.html.sections import history
from tests.report.history_trends import ACCEPTED, FAILED, HOSTILE, make_trend
from tests.report.html.runs import ordinary_run
from tests.stored_runs import make_run


def data_of(*trends: object) -> object:
    return replace(make_data([ordinary_run()]), trends=trends)


def test_each_cell_is_a_chart_and_those_that_moved_most_come_first() -> None:
    still = make_trend("mlp", accepted=(ACCEPTED,))
    values = history.build(data_of(still, make_trend()))  # type: ignore[arg-type]
    assert values is not None
    assert [chart.title.split("/")[0] for chart in values["charts"]] == ["my_net", "mlp"]
    marks = values["charts"][1].series[0].marks
    assert [mark.note for mark in marks].index("accepted") == ACCEPTED.index
    assert values["accepted"] == [f"{ACCEPTED.commit}: {ACCEPTED.reason}"]
    assert marks[0].text.startswith("12.3 ms, 2026-01-01 03:00, 00000000")


def test_a_cell_with_one_value_is_no_trend() -> None:
    one = make_trend(points=(make_trend().points[0], FAILED))
    assert history.build(data_of(one)) is None  # type: ignore[arg-type]
    assert history.build(make_data([make_run(id="x")])) is None


def test_many_cells_are_the_first_and_a_note() -> None:
    values = history.build(data_of(*(make_trend(f"net_{index}") for index in range(40))))  # type: ignore[arg-type]
    assert values is not None
    assert len(values["charts"]) == 24
    assert "The first 24 of 40 cells" in values["notes"][0]
    assert len(values["table"].columns[0].cells) == 40


def test_a_hostile_name_is_text() -> None:
    evil = make_trend(cell_id=HOSTILE, accepted=(replace(ACCEPTED, reason=HOSTILE),))
    page = render(data_of(evil))  # type: ignore[arg-type]
    assert "<script>alert(1)" not in page
    assert '<section id="history"' in page
