from __future__ import annotations

from dataclasses import replace

import pytest

from bench.core.history import Pruned
from bench.report.html.sections.history import trend_page
from bench.tables.history import (
    WHY_NO_VERDICT,
    level_change,
    nominations_document,
    pruned_document,
    trend_document,
    trends_document,
)
from tests.goldens import check_golden
from tests.pages import on_page
from tests.report.history_trends import ACCEPTED, FAILED, HOSTILE, NOMINATIONS, TRENDS, make_point, make_trend


@pytest.mark.parametrize(("width", "unicode"), [(80, True), (120, True), (80, False)])
def test_it_looks_as_it_did(width: int, unicode: bool) -> None:
    look = {"width": width, "unicode": unicode}
    text = "\n\n".join(
        [
            on_page(trends_document(TRENDS), **look),
            on_page(trend_document(TRENDS[2], shown=12), **look),
            on_page(
                trend_document(make_trend(metric="parameters", points=tuple(make_point(d, 9547360) for d in range(3)))),
                **look,
            ),
            on_page(nominations_document(NOMINATIONS, 4), **look),
        ]
    )
    check_golden(f"history-{width}{'' if unicode else '-ascii'}.txt", f"{text}\n")
    commands = ("bench ab", "accept: ")
    assert all(len(line) <= width for line in text.splitlines() if not any(word in line for word in commands))
    assert unicode or text.isascii()


def test_the_level_begins_at_the_last_accepted_change() -> None:
    assert level_change(make_trend()) == pytest.approx(0.2, abs=0.03)
    assert level_change(make_trend(accepted=(ACCEPTED,))) == pytest.approx(0.0, abs=0.03)
    assert level_change(make_trend(points=(make_point(0, 1.0),))) is None
    assert level_change(make_trend(points=(*make_trend().points, FAILED))) is None


def test_series_that_never_had_the_metric_are_counted_not_listed() -> None:
    without = make_trend(cell_id="plain/train/b8/cpu/fp32", points=(make_point(0, None), make_point(1, None)))
    text = on_page(trends_document([make_trend(), without]))
    assert "plain/" not in text
    assert "1 series, 1 without it; change is" in text
    assert "plain/" in on_page(trends_document([without]))  # else there is nothing to show
    failed = replace(without, points=(replace(make_point(0, None), outcome="failed", reason="no memory"),))
    assert "failed: no memory" in on_page(trends_document([make_trend(), failed]))


def test_no_nomination_still_says_why_it_is_no_verdict() -> None:
    text = on_page(nominations_document((), 7))
    assert text.startswith("7 series looked at: 0 nominations")
    assert WHY_NO_VERDICT.split()[-1] in text


def test_the_page_has_a_chart_and_the_newest_points_of_every_trend() -> None:
    failed = replace(FAILED, outcome="failed", reason="no memory")
    page = trend_page([make_trend(accepted=(ACCEPTED,), points=(*make_trend().points, failed))], NOMINATIONS)
    assert page.count('<g class="point">') == 24
    assert "failed: no memory" in page
    assert f"{ACCEPTED.commit}: {ACCEPTED.reason}" in page
    assert "<title>Benchmark history</title>" in page
    assert "bench ab" in page


def test_a_trend_without_a_value_says_so() -> None:
    for points in ((), (FAILED,)):
        assert "nothing was measured" in trend_page([make_trend(points=points)])


def test_nothing_of_a_hostile_name_is_markup_or_reaches_the_terminal() -> None:
    evil = make_trend(
        cell_id=HOSTILE,
        machine=HOSTILE,
        fingerprint="f",
        accepted=(replace(ACCEPTED, reason=HOSTILE),),
        points=(*make_trend().points, replace(FAILED, reason=HOSTILE, outcome="failed")),
    )
    nomination = replace(NOMINATIONS[0], cell_id=HOSTILE, accept=HOSTILE, command=HOSTILE)
    page = trend_page([evil], [nomination])
    assert HOSTILE not in page
    assert "\x1b" not in page
    for text in (
        on_page(trends_document([evil])),
        on_page(trend_document(evil)),
        on_page(nominations_document([nomination], 1)),
    ):
        assert "\x1b" not in text


def test_pruning_is_told_before_and_after() -> None:
    plan = Pruned(
        is_done=False,
        records=1200,
        of=5000,
        cells=3,
        kept_accepted=2,
        oldest="2026-01-01T00:00:00+00:00",
        newest="2026-02-01T00:00:00+00:00",
        runs=tuple(f"run-{n}" for n in range(12)),
    )
    text = on_page(pruned_document(plan))
    assert " ".join(text.split()).startswith(
        "1,200 of 5,000 records would be removed, of 3 cells, measured 2026-01-01 to 2026-02-01"
    )
    assert "2 more match the limits, but stay" in " ".join(text.split())
    assert "and 2 more" in text
    assert "--yes" in text
    done = on_page(
        pruned_document(replace(plan, is_done=True, folders=("/r/a",), problems=("/r/b is being measured",)))
    )
    assert "1,200 of 5,000 records were removed" in done
    assert "of 1 cell," in on_page(pruned_document(replace(plan, cells=1)))
    assert "--yes" not in done
    assert "/r/b is being measured" in done


@pytest.mark.parametrize(
    ("metric", "value", "written"),
    [
        ("step_relative_dispersion", 0.0234, "0.0234"),
        ("steps_until_steady", 1.5, "1.50"),
        ("tokens_per_second", 41_234.5, "41.2"),
        ("compile_payback_steps", 1234, "1,234"),
        ("parameters", 9_547_360, "9,547,360"),
    ],
)
def test_a_fraction_keeps_its_digits_and_a_count_is_exact(metric: str, value: float, written: str) -> None:
    points = tuple(make_point(day, value, low=None, high=None) for day in range(3))
    newest = on_page(trend_document(make_trend(metric=metric, points=points))).splitlines()[-1]
    assert written in newest.split()
