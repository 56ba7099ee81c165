"""The page as people use it, in a real Chromium: opened from a file, without a server or a network."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from bench.report.html.contract import make_data
from bench.report.html.page import render
from bench.runner.compare import compare_stored
from tests.records import make_record
from tests.report.html.conftest import Opened, OpenPage
from tests.report.html.runs import FORMULA, SCRIPT, compared_run, growing_run, hostile_run, long_run, ordinary_run

ROWS = "#cells-table tbody tr"


def texts(opened: Opened, column: str) -> list[str]:
    """Read a column of the table of cells, top to bottom."""
    script = """name => {
        const heads = [...document.querySelectorAll('#cells-table thead th')];
        const at = heads.findIndex(th => th.innerText.trim().startsWith(name));
        return [...document.querySelectorAll('#cells-table tbody tr')].map(tr => tr.cells[at].firstChild.textContent);
    }"""
    return list(opened.page.evaluate(script, column))


def sort_by(opened: Opened, column: str) -> str | None:
    opened.page.locator("#cells-table thead th", has_text=column).first.get_by_role("button").click()
    sorted_by = opened.page.locator("#cells-table thead th[aria-sort]")
    assert sorted_by.count() == 1
    return str(sorted_by.get_attribute("aria-sort"))


def test_an_ordinary_report_opens_without_a_complaint_and_asks_nobody(open_page: OpenPage) -> None:
    opened = open_page(ordinary_run())
    opened.page.mouse.wheel(0, 4000)
    opened.page.locator(".top a[aria-current]").wait_for()
    assert opened.problems == []
    assert opened.requests == []
    assert opened.page.locator("h1").inner_text() == "Benchmark report 20261123-175309-ab12cd"


def test_the_words_of_charts_can_be_read_on_dark_ground(open_page: OpenPage) -> None:
    runs = [ordinary_run("base"), ordinary_run("head"), growing_run(), compared_run()]
    page = render(make_data(runs, [compare_stored(runs[0], runs[1])]))
    opened = open_page(html=page, color_scheme="dark")
    script = """() => [...document.querySelectorAll('svg text')]
        .filter(text => !text.closest('g[class^=c]') && getComputedStyle(text).fill === 'rgb(0, 0, 0)')
        .map(text => text.textContent)"""  # what lies on a coloured part has that part's own colour of text
    assert opened.page.locator("table.dots svg text").count() > 2
    assert opened.page.evaluate(script) == []


def test_a_foreign_script_is_refused_and_the_test_would_see_it(open_page: OpenPage) -> None:
    page = render(make_data([ordinary_run()]))
    opened = open_page(
        html=page.replace("</main>", "<script>window.ran = 1</script><img src=x onerror=alert(1)></main>")
    )
    assert opened.page.evaluate("window.ran") is None
    assert any("Content Security Policy" in problem for problem in opened.problems)
    assert not any(problem.startswith("alert") for problem in opened.problems)
    assert opened.page.evaluate("fetch('https://example.org').then(() => 'sent', () => 'refused')") == "refused"


def test_a_click_on_a_heading_sorts_by_what_it_shows(open_page: OpenPage) -> None:
    opened = open_page(ordinary_run())
    assert sort_by(opened, "step") == "descending"
    shown = [float(text) for text in texts(opened, "step") if text != "-"]
    assert shown == sorted(shown, reverse=True)
    assert len(shown) == 18
    assert texts(opened, "step")[-2:] == ["-", "-"]
    assert sort_by(opened, "step") == "ascending"
    assert [float(text) for text in texts(opened, "step") if text != "-"] == shown[::-1]
    assert texts(opened, "step")[-2:] == ["-", "-"]  # what was not measured stays last
    assert sort_by(opened, "model") == "ascending"
    assert texts(opened, "model") == sorted(texts(opened, "model"))
    assert opened.problems == []


@pytest.mark.parametrize(
    ("smaller", "larger"),
    [("9.99 k", "1.00 M"), ("512 KiB", "1.00 MiB"), ("<1", "1"), ("900 µs", "1.10 ms"), ("-3", "2"), ("999", "1,000")],
)
def test_figures_sort_by_size_whatever_their_unit(open_page: OpenPage, smaller: str, larger: str) -> None:
    page = render(make_data([ordinary_run()]))
    data = json.loads(page.partition('id="cells-data">')[2].partition("</script>")[0])
    number = next(at for at, column in enumerate(data["columns"]) if column["name"] == "step")
    column = data["columns"][number]
    column["texts"], column["noise"] = [larger, smaller] * 10, None
    head, _, rest = page.partition('id="cells-data">')
    opened = open_page(html=f'{head}id="cells-data">{json.dumps(data)}</script>{rest.partition("</script>")[2]}')
    sort_by(opened, "step")
    sort_by(opened, "step")
    assert texts(opened, "step") == [smaller] * 10 + [larger] * 10


def test_search_and_choices_filter_together_and_reset_shows_all(open_page: OpenPage) -> None:
    opened = open_page(ordinary_run())
    page = opened.page
    assert page.locator(ROWS).count() == 20
    page.get_by_label("Search").fill("my_net")
    assert set(texts(opened, "model")) == {"my_net"}
    assert page.locator("#cells-status").inner_text() == "4 of 20 cells"
    page.get_by_label("precision").select_option("bf16-amp")
    assert texts(opened, "precision") == ["bf16-amp"] * 2
    page.get_by_label("Search").fill("nothing like it")
    assert page.locator(ROWS).count() == 0
    assert page.locator("#cells-status").inner_text() == "0 of 20 cells"
    page.get_by_role("button", name="Reset").click()
    assert page.locator(ROWS).count() == 20
    assert page.locator("#cells-status").inner_text() == "20 cells"
    assert opened.problems == []


def test_all_columns_can_be_shown(open_page: OpenPage) -> None:
    opened = open_page(ordinary_run())
    head = opened.page.locator("#cells-table th", has_text="parameters")
    assert not head.is_visible()
    opened.page.get_by_label("all columns").check()
    assert head.is_visible()


def test_the_keyboard_alone_opens_a_cell_and_comes_back(open_page: OpenPage) -> None:
    opened = open_page(ordinary_run())
    page = opened.page
    first = page.locator(ROWS).first.get_by_role("button")
    first.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    assert dialog.get_by_role("heading").inner_text() == "mlp/train/b8/cpu/fp32"
    said = dialog.inner_text()
    assert "40 steps, host clock" in said
    assert "Needs more steps" in said
    assert dialog.locator("circle:not(.warm)").count() == 40
    assert dialog.locator("circle.warm").count() == 3
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    assert page.evaluate("document.activeElement.className") == "open"
    assert opened.problems == []


def test_a_failed_cell_says_why_when_it_is_opened(open_page: OpenPage) -> None:
    opened = open_page(ordinary_run())
    opened.page.locator("tr.bad").first.get_by_role("button").click()
    assert "cpu without bfloat16 instructions" in opened.page.get_by_role("dialog").inner_text()
    assert "No step was timed." in opened.page.get_by_role("dialog").inner_text()


def ground(page: Any) -> str:
    return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_theme_is_the_systems_until_the_button_is_pressed(open_page: OpenPage, scheme: str) -> None:
    opened = open_page(ordinary_run(), color_scheme=scheme)
    before = ground(opened.page)
    other = "Light theme" if scheme == "dark" else "Dark theme"
    opened.page.get_by_role("button", name=other).click()
    after = ground(opened.page)
    assert before != after
    assert {before, after} == {"rgb(251, 250, 248)", "rgb(20, 23, 26)"}
    opened.page.reload()
    assert ground(opened.page) == after
    assert opened.problems == []


def test_the_page_is_as_wide_as_a_phone_whatever_the_names(open_page: OpenPage) -> None:
    endless = "decoder_lm@" + "layers=12,heads=12," * 8
    claims = tuple(replace(one, claim=replace(one.claim, model=endless)) for one in ordinary_run().claims)
    records = tuple(make_record(endless, size) for size in (8, 16, 32))
    runs = ordinary_run(claims=claims, records=records, id=endless), compared_run(), hostile_run()
    opened = open_page(*runs, viewport={"width": 375, "height": 740})
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= 375
    assert opened.problems == []


def test_a_table_says_that_it_scrolls_only_where_it_does(open_page: OpenPage) -> None:
    opened = open_page(ordinary_run(), viewport={"width": 390, "height": 844})
    note = opened.page.locator("#cells .sideways")
    note.wait_for()
    assert note.inner_text() == "scrolls sideways →"
    opened.page.set_viewport_size({"width": 1400, "height": 1000})
    note.wait_for(state="detached")
    assert opened.problems == []


def test_the_page_is_all_there_without_a_script(open_page: OpenPage) -> None:
    opened = open_page(ordinary_run(), java_script_enabled=False)
    assert opened.page.locator(ROWS).count() == 20
    assert not opened.page.locator("#cells-tools").is_visible()


def test_printing_leaves_the_controls_out(open_page: OpenPage) -> None:
    opened = open_page(ordinary_run())
    opened.page.emulate_media(media="print")
    assert not opened.page.locator("#cells-tools").is_visible()
    assert not opened.page.locator(".top").is_visible()
    assert opened.page.locator("#phases table").first.is_visible()
    assert opened.page.pdf().startswith(b"%PDF")


def test_nothing_of_a_hostile_run_is_executed_or_becomes_markup(open_page: OpenPage) -> None:
    opened = open_page(hostile_run())
    page = opened.page
    page.locator("tr.bad").first.get_by_role("button").click()
    page.keyboard.press("Escape")
    page.get_by_label("Search").fill("script")
    sort_by(opened, "step")
    assert opened.problems == []
    assert opened.requests == []
    assert set(page.evaluate("[...document.scripts].map(s => s.type)")) == {"", "application/json"}
    assert page.locator("img").count() == 0
    assert page.evaluate("document.querySelectorAll('[onload], [onerror], [style]').length") == 0
    assert SCRIPT in texts(opened, "model")
    page.get_by_role("button", name="Reset").click()
    assert FORMULA in texts(opened, "model")


def test_ten_thousand_cells_are_paged_sorted_and_filtered(open_page: OpenPage) -> None:
    opened = open_page(long_run(10_000, steps=6))
    page = opened.page
    assert page.locator(ROWS).count() == 100
    page.get_by_role("button", name="Next").click()
    assert texts(opened, "model")[0] == "net_0010"
    sort_by(opened, "step")
    largest = texts(opened, "step")
    assert [float(text) for text in largest] == sorted((float(text) for text in largest), reverse=True)
    page.get_by_label("Search").fill("net_0999")
    assert page.locator(ROWS).count() == 10
    page.locator(ROWS).first.get_by_role("button").click()
    assert page.get_by_role("dialog").locator("circle:not(.warm)").count() > 0
    assert opened.problems == []


def test_verdicts_are_read_without_colours(open_page: OpenPage) -> None:
    opened = open_page(compared_run())
    section = opened.page.locator("#verdicts")
    assert "Slower: 3 cells: 1 slower, 1 same, 1 incomparable" in section.inner_text()
    strip = section.get_by_role("img").first
    assert "change +8.3 %, interval +7.3 to +9.4 %" in str(strip.get_attribute("aria-label"))
    assert strip.locator("circle").count() == 6
    assert opened.problems == []


def test_every_picture_has_words_and_every_control_a_name(open_page: OpenPage) -> None:
    opened = open_page(ordinary_run(), ordinary_run("20261123-180000-ffffff"))
    nameless = opened.page.evaluate(
        """[...document.querySelectorAll('svg:not([aria-hidden]), button, input, select, [role=group]')]
        .filter(e => !(e.getAttribute('aria-label') || e.textContent.trim() || e.closest('label')))
        .map(e => e.outerHTML.slice(0, 80))"""
    )
    assert nameless == []
    ids = opened.page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))
    broken = opened.page.evaluate(
        """[...document.querySelectorAll('a[href^="#"]')].map(a => a.hash.slice(1))
        .filter(id => !document.getElementById(id))"""
    )
    assert broken == []
