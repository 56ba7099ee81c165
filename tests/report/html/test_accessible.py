"""axe-core finds nothing in the report, light and dark, wide and on a phone, with all that is folded unfolded."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bench.store.stored import StoredRun
from tests.accessibility import violations
from tests.report.html.conftest import OpenPage
from tests.report.html.runs import compared_run, growing_run, hostile_run, ordinary_run, run_with_peaks

PAGES: dict[str, Callable[[], tuple[StoredRun, ...]]] = {
    "a run": lambda: (ordinary_run(),),
    "two runs": lambda: (ordinary_run(), ordinary_run("20261123-180000-ffffff")),
    "verdicts, roofs and fits": lambda: (compared_run(), run_with_peaks(), growing_run()),
    "a hostile run": lambda: (hostile_run(),),
}
UNFOLD = "document.querySelectorAll('details').forEach(one => { one.open = true })"


@pytest.mark.parametrize("runs", PAGES.values(), ids=PAGES)
def test_axe_finds_nothing(open_page: OpenPage, runs: Callable[[], tuple[StoredRun, ...]]) -> None:
    page = open_page(*runs()).page
    page.evaluate(UNFOLD)
    assert violations(page) == []
    page.set_viewport_size({"width": 390, "height": 844})
    assert violations(page) == []


def test_axe_finds_nothing_in_an_opened_cell(open_page: OpenPage) -> None:
    page = open_page(ordinary_run()).page
    page.locator("#cells-table tbody tr").first.get_by_role("button").click()
    page.get_by_role("dialog").wait_for()
    assert violations(page) == []


def test_axe_sees_what_is_planted(open_page: OpenPage) -> None:
    page = open_page(ordinary_run()).page
    page.evaluate("document.querySelector('main').append(document.createElement('img'))")
    page.evaluate("document.querySelector('h1').style.color = '#777'")
    found = [violation.partition(":")[0] for violation in violations(page)]
    assert "image-alt (structure)" in found
    assert found.count("color-contrast (light)") + found.count("color-contrast (dark)") == 2
