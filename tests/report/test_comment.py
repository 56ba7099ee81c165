from __future__ import annotations

import re
from dataclasses import replace

import pytest

from bench.core.record import Outcome
from bench.report.comment import LIMIT, Section, fold, run_comment
from tests.goldens import check_golden
from tests.records import ENVIRONMENT, make_claims, make_record, make_sweep
from tests.report.formats.runs import HOSTILE, hostile_run


def test_a_run_looks_as_it_did() -> None:
    check_golden("run-comment.md", run_comment(make_sweep(), make_claims(), ENVIRONMENT))


def test_the_verdict_stands_first() -> None:
    assert run_comment(make_sweep(), make_claims()).startswith("### 1 documented value wrong\n")
    assert run_comment(make_sweep()).startswith("### 1 cell failed\n")
    assert run_comment([make_record()]).startswith("### Measured\n\n1 cell: 1 ok")
    assert run_comment([]).startswith("### Nothing measured\n")


def many(cells: int) -> list:
    record = make_record(step=None, outcome=Outcome.FAILED, reason="r" * 100)
    return [replace(record, cell=replace(record.cell, batch_size=size)) for size in range(1, cells + 1)]


@pytest.mark.parametrize("cells", [20, 600, 10_000])
def test_it_never_exceeds_githubs_limit_and_says_what_it_left_out(cells: int) -> None:
    text = run_comment(many(cells), make_claims(), ENVIRONMENT)
    assert len(text.encode()) <= LIMIT
    left = [int(number.replace(",", "")) for number in re.findall(r"([\d,]+) of [\d,]+ rows are left out", text)]
    shown = len(re.findall(r"^- my_net/", text, re.MULTILINE))
    assert f"{cells:,} cells: {cells:,} failed" in text
    assert shown + (left[-1] if left else 0) == cells
    assert bool(left) == (cells > 100)
    if left:
        assert len(text.encode()) > LIMIT / 3  # not more is cut than must be


def test_every_fold_is_closed_and_nothing_from_outside_is_markup() -> None:
    run = hostile_run()
    text = run_comment(run.records, run.claims, run.environment)
    assert len(text.encode()) <= LIMIT
    assert text.count("<details") == text.count("</details>") == text.count("<summary>")
    tags = set(re.findall(r"</?([a-zA-Z]+)", text))
    assert tags <= {"details", "summary"}
    assert "\x1b" not in text and "\x00" not in text
    assert not re.search(r"(?m)^::", text)


def test_sections_lose_rows_from_the_longest_first() -> None:
    long = Section(title="long", rows=100, write=lambda rows: "x" * 100 * rows)
    short = Section(title="short", rows=2, write=lambda rows: "y" * rows)
    text = fold("head", [long, short], limit=2000)
    assert len(text) <= 2000
    assert "yy" in text
    assert "of 100 rows are left out" in text
    assert "of 2 rows" not in text


def test_sections_that_cannot_shrink_are_dropped_from_the_end() -> None:
    stubborn = Section(title="stubborn", rows=0, write=lambda _: "z" * 500)
    text = fold("head", [stubborn, stubborn], limit=700)
    assert len(text) <= 700
    assert text.count("stubborn") == 1
    assert text.endswith("1 more part would be too long for a comment.\n")


def test_a_title_from_outside_stands_as_it_is() -> None:
    assert "<script" not in fold("head", [Section(title=HOSTILE, rows=0, write=lambda _: "")])
